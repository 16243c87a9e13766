//! The table of verbs: what leads to the store that a verb finds, and the verb.

/// A verb of layerctl in one situation.
#[derive(Debug)]
pub(super) struct Verb {
    /// What it is called here.
    pub(super) name: &'static str,
    /// What makes the store that it finds: commands of layerctl, one after the other.
    pub(super) before: &'static [&'static str],
    /// Files to put beside that: path from the place on, text. A path that ends in a slash is a directory.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The command. Words are parted by spaces.
    pub(super) command: &'static str,
    /// Whether all that people see of it changes at one moment. Else each part is old or new by itself.
    pub(super) at_once: bool,
    /// Programs that it starts: their system calls fail too.
    pub(super) programs: &'static [&'static str],
}

impl Verb {
    const fn new(
        name: &'static str,
        before: &'static [&'static str],
        command: &'static str,
    ) -> Self {
        Self { name, before, files: &[], command, at_once: true, programs: &[] }
    }

    const fn with(mut self, files: &'static [(&'static str, &'static str)]) -> Self {
        self.files = files;
        self
    }

    const fn one_by_one(mut self) -> Self {
        self.at_once = false;
        self
    }

    const fn starting(mut self, programs: &'static [&'static str]) -> Self {
        self.programs = programs;
        self
    }
}

const BASE: &[&str] = &["init", "base import images/debian_13.img"];

const TWO: &[&str] =
    &["init", "base import images/debian_13.img", "install images/htop_3.img images/lib_1.img"];

const ONCE: &[&str] = &[
    "init",
    "base import images/debian_13.img",
    "install images/htop_3.img",
    "rollback --try-once 1",
];

/// With a boot partition: a kernel that stays, and one that only an older generation has.
const BOOT: &[&str] = &[
    "init",
    "--boot boot base import images/debian_23.img",
    "--boot boot install images/htop_3.img",
];

const SET: &[&str] = &[
    "init",
    "base import images/debian_13.img",
    "install images/htop_3.img",
    "set create web htop",
];

const PINNED: &[&str] =
    &["init", "base import images/debian_13.img", "install images/htop_3.img", "pin 1"];

const RESET: &[&str] = &["init", "base import images/debian_13.img", "reset --var"];

const MANY: &[&str] = &[
    "init",
    "base import images/debian_13.img",
    "install images/htop_3.img",
    "base import images/debian_14.img",
    "install images/app_5.img images/lib_1.img",
    "uninstall htop app",
];

/// What boots and changes that were interrupted leave, beside uppers of generations that are kept and that go.
const LEFT: &[(&str, &str)] = &[
    ("state/layerctl/upper/etc/1/upper/hostname", "one"),
    ("state/layerctl/upper/etc/1/work/", ""),
    ("state/layerctl/upper/etc/5/upper/hostname", "five"),
    ("state/layerctl/upper/etc/5/work/", ""),
    ("state/layerctl/store/.tmp-x", "x"),
    ("state/layerctl/generations/.tmp-9/generation.toml", ""),
    ("state/layerctl/upper/var/upper/lib/x", "x"),
    ("state/layerctl/upper/var/.tmp-wiped/a", "x"),
];

/// An /etc with what its owner changed, and the other one that `etc sync` takes from.
const ETC: &[(&str, &str)] = &[
    ("state/layerctl/upper/etc/1/upper/hostname", "one"),
    ("state/layerctl/upper/etc/1/upper/motd", "hello"),
    ("state/layerctl/upper/etc/1/work/", ""),
    ("state/layerctl/upper/etc/2/upper/hostname", "mine"),
    ("state/layerctl/upper/etc/2/work/", ""),
    (
        "state/layerctl/generations/2/etc.json",
        r#"{"schema":1,"generation":2,"source":1,"counts":{"entries":1,"dropped":0,"aside":0,"merged":0},
"notes":[{"path":"/etc/hostname","kind":"changed-on-both-sides","what":"the image changed it too"}]}"#,
    ),
];

const POLICY: &[(&str, &str)] = &[("layerctl.toml", "[writable.home]\nmode = \"ephemeral\"\n")];

/// Every verb that writes.
pub(super) const VERBS: &[Verb] = &[
    Verb::new("init", &[], "init"),
    Verb::new("base import image", BASE, "base import images/debian_14.img"),
    Verb::new("base import directory", BASE, "base import trees/debian_15")
        .starting(&["mksquashfs"]),
    Verb::new(
        "build erofs",
        &["init"],
        "build trees/htop_3 --name htop --version 3 --requires lib -o out/htop_3.img",
    )
    .one_by_one()
    .with(&[("out/", "")])
    .starting(&["mkfs.erofs"]),
    Verb::new(
        "build squashfs again",
        &["init", "build trees/app_5 --name htop --version 2 -o out/htop.img"],
        "build trees/marked_1 --format squashfs --name htop --version 3 -o out/htop.img",
    )
    .one_by_one()
    .starting(&["mksquashfs"]),
    Verb::new(
        "build from tar",
        &["init"],
        "build trees/htop.tar --name htop --version 3 -o out/htop_3.img",
    )
    .one_by_one()
    .with(&[("out/", "")])
    .starting(&["tar"]),
    Verb::new("install", BASE, "install images/app_5.img images/lib_1.img"),
    Verb::new("install replace", TWO, "install --replace images/htop_4.img"),
    Verb::new("install by name", MANY, "install htop"),
    Verb::new("install once", TWO, "install --try-once images/app_5.img images/lib_1.img"),
    Verb::new("install over once", ONCE, "install images/app_5.img images/lib_1.img").one_by_one(),
    Verb::new("uninstall", TWO, "uninstall htop"),
    Verb::new("set create", TWO, "set create web htop"),
    Verb::new("set delete", SET, "set delete web"),
    Verb::new("rollback", TWO, "rollback"),
    Verb::new("rollback once", TWO, "rollback --try-once 1"),
    Verb::new("rollback over once", ONCE, "rollback 2").one_by_one(),
    Verb::new("mark-good", TWO, "mark-good 2").one_by_one(),
    Verb::new("pin", TWO, "pin 1"),
    Verb::new("unpin", PINNED, "unpin 1"),
    Verb::new("cleanup", MANY, "cleanup --keep 1").with(LEFT),
    Verb::new("reset", TWO, "reset --etc --keep /etc/hostname"),
    Verb::new("reset cancel", RESET, "reset --cancel"),
    Verb::new("policy apply", TWO, "--config layerctl.toml policy apply").with(POLICY),
    Verb::new("kargs", TWO, "kargs --append quiet"),
    Verb::new("boot: base import", BOOT, "--boot boot base import images/debian_24.img")
        .one_by_one(),
    Verb::new("boot: install", BOOT, "--boot boot install images/app_5.img images/lib_1.img")
        .one_by_one(),
    Verb::new("boot: kargs", BOOT, "--boot boot kargs --append quiet").one_by_one(),
    Verb::new("boot: rollback", BOOT, "--boot boot rollback").one_by_one(),
    Verb::new("boot: mark-good", BOOT, "--boot boot mark-good 2").one_by_one(),
    Verb::new("boot: sync", BOOT, "--boot boot boot sync")
        .one_by_one()
        .with(&[("boot/loader/entries/layerctl-default-1-00000000.conf", "torn")]),
    Verb::new("etc reset", TWO, "etc reset /etc/hostname").one_by_one().with(ETC),
    Verb::new("etc take", TWO, "etc take --mine /etc/hostname").one_by_one().with(ETC),
    Verb::new("etc sync", TWO, "etc sync --from 1 /etc/motd").one_by_one().with(ETC),
];
