//! A store whose images are signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use initrd::boot::{BootError, Booted, Effects, Machine, boot};
use layers::cmdline::BootRequest;
use layers::host::Recorder;
use layers::id::Digest;
use layers::layout::{BootPaths, Layout};
use layers::plan::Op;
use layers::signature::PublicKey;
use layers::store::{read, stage};
use layers::trust::Trust;
use minisign::KeyPair;

/// The clock of these machines: 2026-11-22.
pub(crate) const NOW: u64 = 1_795_305_600;

/// A signed base and a signed layer. Generation 1 has the base alone, generation 2, the default, has both.
pub(crate) struct Store {
    _directory: tempfile::TempDir,
    pub(crate) paths: BootPaths,
    pub(crate) layout: Layout,
    pub(crate) base: Digest,
    pub(crate) layer: Digest,
    pub(crate) key: KeyPair,
    /// The initrd's trust file.
    pub(crate) trust: String,
}

impl Store {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = BootPaths {
            run: directory.path().join("run"),
            sysroot: directory.path().join("sysroot"),
        };
        fs::create_dir_all(paths.state()).unwrap();
        read::init(&paths.state()).unwrap();
        let layout = Layout::new(&paths.state());
        let [base, layer] = ["base", "layer"].map(|text| image(&layout, directory.path(), text));
        let key = KeyPair::generate_unencrypted_keypair().unwrap();
        let trust = format!("verify require\nkey {}\n", key.pk.to_base64());
        let store = Self { _directory: directory, paths, layout, base, layer, key, trust };
        store.describe(&store.base, &store.base_manifest("13.1"));
        store.describe(&store.layer, &store.layer_manifest("3"));
        fs::write(store.layout.default(), "0000000002\n").unwrap();
        for (id, layered) in [(1, false), (2, true)] {
            let file = store.layout.generation_file(id.to_string().parse().unwrap());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, store.generation(id, layered)).unwrap();
        }
        store
    }

    fn generation(&self, id: u32, layered: bool) -> String {
        let mut text = format!(
            "schema = 1\nid = {id}\ncreated = \"2026-01-01T00:00:00Z\"\nreason = \"test\"\n[base]\n\
             name = \"debian\"\nversion = \"13.1\"\ndigest = \"{}\"\ndirs = [\"etc\", \"usr\"]\n[sets]\n",
            self.base
        );
        text += if layered { "default = [\"htop\"]\n" } else { "default = []\n" };
        if layered {
            text += &format!(
                "[[layers]]\nname = \"htop\"\nversion = \"3\"\ndigest = \"{}\"\ndirs = [\"usr\"]\n\
                 requested = true\n",
                self.layer
            );
        }
        text
    }

    pub(crate) fn base_manifest(&self, version: &str) -> String {
        let about = format!("name = \"debian\"\nversion = \"{version}\"\nkind = \"base\"\n");
        self.manifest(&self.base, &about, "\"etc\", \"usr\"")
    }

    pub(crate) fn layer_manifest(&self, version: &str) -> String {
        let about = format!("name = \"htop\"\nversion = \"{version}\"\nkind = \"layer\"\n");
        self.manifest(&self.layer, &about, "\"usr\"")
    }

    fn manifest(&self, digest: &Digest, about: &str, dirs: &str) -> String {
        let size = fs::metadata(self.layout.image(digest)).unwrap().len();
        format!(
            "schema = 1\n{about}architecture = \"x86-64\"\nformat = \"squashfs\"\nsize = {size}\n\
             digest = \"{digest}\"\ndirs = [{dirs}]\n[verity]\nroot = \"{digest}\"\nsalt = \"00\"\n\
             data_blocks = {}\nfsverity = \"{digest}\"\n",
            size / 4096
        )
    }

    /// Puts a manifest beside an image, signed by the trusted key.
    pub(crate) fn describe(&self, digest: &Digest, manifest: &str) {
        fs::write(self.layout.manifest(digest), manifest).unwrap();
        fs::write(self.layout.signatures(digest), sign(&self.key, manifest)).unwrap();
    }

    /// A key's ID, as the trust file names it.
    pub(crate) fn key_id(&self, key: &KeyPair) -> String {
        let public: PublicKey = key.pk.to_base64().parse().unwrap();
        public.id().to_string()
    }

    /// Boots; gives what was mounted too.
    pub(crate) fn boot(&self, cmdline: &str) -> (Result<Booted, BootError>, Vec<Op>) {
        let mut host = Recorder::new();
        let trust = Trust::parse(&self.trust).unwrap();
        let machine =
            Machine { cmdline: cmdline.to_owned(), trust, now: NOW, ..Machine::default() };
        let mut effects = Effects {
            host: &mut host,
            load_driver: &mut |_| {},
            find_init: &|_: &Path| Ok(PathBuf::from("/sbin/init")),
        };
        let booted = boot(&BootRequest::parse(cmdline), &machine, &self.paths, &mut effects);
        (booted, host.ops)
    }

    /// Boots and sees that nothing is mounted that is not covered by what was signed. Gives the generation, or nothing
    /// where none boots, and why others do not.
    pub(crate) fn booted(&self, cmdline: &str) -> (Option<u32>, Vec<String>) {
        let (booted, ops) = self.boot(cmdline);
        for op in &ops {
            let Op::MountImage { image, cover, .. } = op else { continue };
            let cover = cover.as_ref().unwrap_or_else(|| panic!("unsigned: {op}"));
            // These manifests have the image's digest for a root hash.
            assert_eq!(*image, self.layout.image(&cover.verity.root), "another image's cover");
            assert!([self.base, self.layer].contains(&cover.verity.root), "{op}");
        }
        match booted {
            Ok(booted) => {
                assert!(booted.report.unsigned.is_empty());
                let why = booted.report.failed.into_iter().map(|failed| failed.why).collect();
                (Some(booted.report.generation.get()), why)
            }
            Err(BootError::NoCandidate(failed)) => {
                assert!(ops.is_empty(), "nothing boots, and {ops:?}");
                (None, failed.into_iter().map(|failed| failed.why).collect())
            }
            Err(other) => (None, vec![other.to_string()]),
        }
    }
}

/// A signature as minisign makes it.
pub(crate) fn sign(key: &KeyPair, text: &str) -> String {
    let comment = Some("timestamp:1795305600");
    minisign::sign(Some(&key.pk), &key.sk, text.as_bytes(), comment, None).unwrap().to_string()
}

/// A real squashfs in the store that holds one file with `text`.
fn image(layout: &Layout, directory: &Path, text: &str) -> Digest {
    let tree = directory.join(text);
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), text).unwrap();
    let file = directory.join(format!("{text}.img"));
    let mut command = Command::new("mksquashfs");
    let made = command.arg(&tree).arg(&file).args(["-quiet", "-no-progress"]).status();
    assert!(made.expect("mksquashfs of squashfs-tools is needed").success());
    let digest = stage::hash(&file, &mut |_| {}).unwrap();
    fs::rename(&file, layout.image(&digest)).unwrap();
    digest
}
