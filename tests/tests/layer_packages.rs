//! Layers from Debian's packages.
#![expect(clippy::disallowed_methods, reason = "looks at links and modes of what was made")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tests::base::{Builder, Tree};
use tests::failure::Failure;
use tests::files;
use tests::packages::{install, unpack};
use tests::workspace::Workspace;

#[test]
fn a_layer_has_its_program_and_what_the_base_lacks() -> Result<(), Failure> {
    let workspace = Workspace::here();
    let base = Tree::build(&workspace, Builder::Mmdebstrap)?;
    let layers = unpack(&workspace, &base, &["htop", "jq", "tree"])?;
    // jq's library comes with it; ncurses, which htop needs, is in the base or comes too.
    let expected = ["usr/bin/htop", "usr/bin/jq", "usr/bin/tree"];
    for (layer, program) in layers.iter().zip(expected) {
        assert!(files::is_file(&layer.tree.join(program)), "{program}");
        assert!(!files::exists(&layer.tree.join("usr/share/man")), "{program} has manual pages");
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+_~^-".contains(c);
        assert!(layer.version.chars().all(allowed), "{}", layer.version);
        let copyright = layer.tree.join("usr/share/doc").join(&layer.name).join("copyright");
        assert!(files::is_file(&copyright), "{}", copyright.display());
    }
    let jq = layers.get(1).map(|layer| files::walk(&layer.tree)).transpose()?.unwrap_or_default();
    assert!(jq.iter().any(|path| path.to_string_lossy().contains("libjq.so")), "{jq:?}");
    Ok(())
}

/// What no layer may have: the chroot's own mounts, and what the package manager keeps for itself.
const FOREIGN: [&str; 12] = [
    "archives",
    "dev",
    "etc/passwd-",
    "proc",
    "run",
    "tmp",
    "usr/sbin/policy-rc.d",
    "usr/share/man",
    "var/cache/apt/pkgcache.bin",
    "var/lib/apt",
    "var/lib/dpkg/lock",
    "var/log/dpkg.log",
];

#[test]
fn an_installed_package_brings_its_account_and_its_units_and_nothing_else() -> Result<(), Failure> {
    let workspace = Workspace::here();
    let base = Tree::build(&workspace, Builder::Mmdebstrap)?;
    let layer = install(&workspace, &base, "avahi-daemon", &["avahi-daemon"])?;
    let text = |path: &str| files::read_text(&layer.tree.join(path));
    for file in ["etc/passwd", "etc/group", "etc/shadow"] {
        assert!(text(file)?.lines().any(|line| line.starts_with("avahi:")), "{file}");
    }
    let installed = "\nPackage: avahi-daemon\nStatus: install ok installed\n";
    assert!(text("var/lib/dpkg/status")?.contains(installed));
    let wanted = "etc/systemd/system/multi-user.target.wants/avahi-daemon.service";
    let unit = std::fs::read_link(layer.tree.join(wanted))?;
    assert_eq!(unit, Path::new("/usr/lib/systemd/system/avahi-daemon.service"));
    for path in FOREIGN {
        assert!(std::fs::symlink_metadata(layer.tree.join(path)).is_err(), "{path}");
    }
    // The top directory of a layer is the root of a booted system.
    assert_eq!(std::fs::metadata(&layer.tree)?.mode() & 0o7777, 0o755);
    let mounts = files::read_text(Path::new("/proc/self/mountinfo"))?;
    assert!(!mounts.contains("cache/layer/avahi-daemon"), "{mounts}");
    Ok(())
}
