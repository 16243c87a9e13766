//! What tests of signatures share: keys, trust files, and a store that wants everything signed.

use crate::world::World;

impl World {
    /// Makes the key NAME.key without a password, and gives its line for a trust file.
    pub(crate) fn key(&self, name: &str) -> String {
        let output =
            self.command(&format!("key generate --no-password -o {name}")).output().unwrap();
        assert!(output.status.success(), "{}", crate::world::render("key generate", &output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A world whose store has a base signed by `good.key`, which `trust` requires of everything.
    pub(crate) fn trusting() -> Self {
        let world = Self::new();
        let key = world.key("good");
        world.write("trust", format!("verify require\n{key}\n"));
        world.base_tree("base");
        world.done("build base --kind base --name debian --version 13 -o debian_13.img");
        world.done("sign debian_13.img --key good.key");
        world.done("init");
        world.done("--trust trust base import debian_13.img");
        world
    }

    /// Builds the layer image NAME_VERSION.img and signs it with KEY.key.
    pub(crate) fn signed_layer(&self, name: &str, version: &str, key: &str) {
        self.layer(name, version, "");
        self.done(&format!("sign {name}_{version}.img --key {key}.key"));
    }

    /// Copies an image with what is beside it.
    pub(crate) fn copy_image(&self, from: &str, to: &str) {
        for ending in ["img", "toml", "toml.minisig"] {
            let (from, to) = (format!("{from}.{ending}"), format!("{to}.{ending}"));
            if self.path(&from).exists() {
                std::fs::copy(self.path(&from), self.path(&to)).unwrap();
            }
        }
    }

    /// What a change gives that must be refused by the trust file and leave the store as it was.
    pub(crate) fn distrusted(&self, line: &str) -> String {
        self.refused(&format!("--trust trust {line}"))
    }

    /// The ID of the key NAME.
    pub(crate) fn key_id(&self, name: &str) -> String {
        let text = String::from_utf8(self.read(&format!("{name}.pub"))).unwrap();
        text.lines().next().unwrap().split(' ').nth(5).unwrap().to_owned()
    }
}

/// Hides what is another one in each run: keys and their IDs.
pub(crate) fn hidden() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9A-F]{16}\b", "[key id]");
    settings.add_filter(r"RW[A-Za-z0-9+/]{54}", "[public key]");
    settings.add_filter(r"serial \d+(, not) \d+", "serial [n]$1 [n]");
    settings.add_filter(r"serial \d+", "serial [n]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[time]");
    settings.bind_to_scope()
}
