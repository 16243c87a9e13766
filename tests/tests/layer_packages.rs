//! Layers from Debian's packages, and from RPMs: made by unpacking, and by `layerctl build` with the real package managers.
#![expect(clippy::disallowed_methods, reason = "looks at links and modes of what was made")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;
use tests::artefacts::Artefacts;
use tests::base::{Builder, Tree};
use tests::failure::Failure;
use tests::files;
use tests::packages::unpack;
use tests::process;
use tests::sources::Sources;
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

/// A directory in which the real command builds layers on the real base.
struct Bench {
    dir: TempDir,
    artefacts: Artefacts,
    workspace: Workspace,
}

impl Bench {
    fn new() -> Result<Self, Failure> {
        let workspace = Workspace::here();
        let (artefacts, dir) = (Artefacts::load(&workspace)?, tempfile::tempdir()?);
        let lines = Sources::of_this_machine()?.lines().join("\n") + "\n";
        files::write(&dir.path().join("debian.list"), lines)?;
        Ok(Self { dir, artefacts, workspace })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `layerctl build` with these words, without an epoch unless one is given.
    fn run(&self, words: &str, epoch: Option<&str>) -> Result<Output, Failure> {
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("build").args(words.split(' ')).arg("--base").arg(&self.artefacts.base);
        command.arg("--cache").arg(self.workspace.cache().join("packages"));
        command.env_remove("SOURCE_DATE_EPOCH").envs(epoch.map(|it| ("SOURCE_DATE_EPOCH", it)));
        Ok(command.current_dir(self.dir.path()).output()?)
    }

    fn build(&self, words: &str) -> Result<(), Failure> {
        let output = self.run(words, None)?;
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What is said where a build must fail; it leaves nothing.
    fn refused(&self, words: &str) -> Result<String, Failure> {
        let before = files::walk(self.dir.path())?;
        let output = self.run(words, None)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert_eq!(files::walk(self.dir.path())?, before, "{words}");
        self.nothing_is_mounted()?;
        Ok(said)
    }

    fn nothing_is_mounted(&self) -> Result<(), Failure> {
        let mounts = files::read_text(Path::new("/proc/self/mountinfo"))?;
        let here = self.dir.path().to_string_lossy().into_owned();
        assert!(!mounts.contains(&here), "{mounts}");
        Ok(())
    }

    /// The files of an image, unpacked.
    fn unpacked(&self, image: &str) -> Result<PathBuf, Failure> {
        let tree = self.path(&format!("{image}.tree"));
        process::run(
            process::command("unsquashfs")
                .arg("-quiet")
                .arg("-no-progress")
                .arg("-d")
                .arg(&tree)
                .arg(self.path(image)),
        )?;
        Ok(tree)
    }

    /// A package `NAME_1_all.deb` whose scripts are given: name and text of each.
    fn deb(&self, name: &str, scripts: &[(&str, &str)]) -> Result<(), Failure> {
        let tree = self.path(name);
        files::make_dir(&tree.join("DEBIAN"))?;
        files::make_dir(&tree.join("usr/share").join(name))?;
        files::write(&tree.join("usr/share").join(name).join("text"), "text\n")?;
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\n\
             Installed-Size: 4\nDescription: x\n"
        );
        files::write(&tree.join("DEBIAN/control"), control)?;
        for (script, text) in scripts {
            let path = tree.join("DEBIAN").join(script);
            files::write(&path, format!("#!/bin/sh\nset -e\n{text}\n"))?;
            process::run(process::command("chmod").arg("755").arg(&path))?;
        }
        let mut build = process::command("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&tree);
        process::run(build.arg(self.path(&format!("{name}_1_all.deb"))))?;
        Ok(files::remove_tree(&tree)?)
    }
}

/// What no layer may have: the sandbox's own, what belongs to files that all share, what is a package manager's own.
const FOREIGN: [&str; 16] = [
    "dev",
    "etc/group",
    "etc/ld.so.cache",
    "etc/passwd",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow",
    "proc",
    "run",
    "tmp",
    "usr/sbin/policy-rc.d",
    "var/cache/apt/pkgcache.bin",
    "var/lib/apt",
    "var/lib/dpkg/info/bash.list",
    "var/lib/dpkg/status",
    "var/log/dpkg.log",
];

#[test]
fn an_installed_package_brings_its_account_and_its_units_and_nothing_else() -> Result<(), Failure> {
    let bench = Bench::new()?;
    bench.build("--packages avahi-daemon --sources debian.list --format squashfs -o avahi.img")?;
    let tree = bench.unpacked("avahi.img")?;
    let text = |path: &str| files::read_text(&tree.join(path));
    let fragments = "usr/lib/layerctl/layers/avahi-daemon";
    let accounts = text(&format!("{fragments}/accounts"))?;
    assert_eq!(text("usr/lib/sysusers.d/layerctl-avahi-daemon.conf")?, accounts);
    let user = accounts.lines().find_map(|line| line.strip_prefix("u avahi ")).unwrap_or_default();
    let number: u32 = user.split(' ').next().unwrap_or_default().parse().unwrap_or_default();
    assert!((400..=899).contains(&number), "{accounts}");
    let status = text(&format!("{fragments}/dpkg-status"))?;
    assert!(status.contains("Package: avahi-daemon\nStatus: install ok installed\n"), "{status}");
    assert!(!status.contains("Package: bash\n"), "{status}");
    assert!(files::is_file(&tree.join("var/lib/dpkg/info/avahi-daemon.list")));
    let release = text("usr/lib/extension-release.d/extension-release.avahi-daemon")?;
    assert_eq!(release, "ID=debian\nVERSION_ID=13\nARCHITECTURE=x86-64\n");
    let wanted = "etc/systemd/system/multi-user.target.wants/avahi-daemon.service";
    let unit = std::fs::read_link(tree.join(wanted))?;
    assert_eq!(unit, Path::new("/usr/lib/systemd/system/avahi-daemon.service"));
    for path in FOREIGN {
        assert!(std::fs::symlink_metadata(tree.join(path)).is_err(), "{path}");
    }
    // The top directory of a layer is the root of a booted system.
    assert_eq!(std::fs::metadata(&tree)?.mode() & 0o7777, 0o755);
    bench.nothing_is_mounted()
}

#[test]
fn the_same_packages_make_the_same_bytes() -> Result<(), Failure> {
    let bench = Bench::new()?;
    // One with a user and files that are its own; one with byte code that scripts would make.
    for (packages, epoch) in [("nginx,chrony", None), ("python3-minimal,htop", Some("1700000000"))]
    {
        for place in ["one.img", "two.img"] {
            let line =
                format!("--packages {packages} --sources debian.list --format squashfs -o {place}");
            let output = bench.run(&line, epoch)?;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let images = (files::read(&bench.path("one.img"))?, files::read(&bench.path("two.img"))?);
        assert!(images.0 == images.1, "{packages} {epoch:?}");
    }
    let tree = bench.unpacked("two.img")?;
    let compiled = files::walk(&tree)?.into_iter().find(|path| path.ends_with("__pycache__"));
    assert_eq!(compiled, None);
    Ok(())
}

#[test]
fn what_the_base_has_is_not_built_again() -> Result<(), Failure> {
    let bench = Bench::new()?;
    // Nothing has to be fetched for the answer.
    let output = bench.run("--packages bash,dpkg --offline --unchanged-exit-77 -o x.img", None)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.starts_with("the base has bash 5.") && said.contains(", dpkg 1."), "{said}");
    assert!(!files::exists(&bench.path("x.img")));
    Ok(())
}

#[test]
fn scripts_of_packages_run_and_their_failure_is_told() -> Result<(), Failure> {
    let bench = Bench::new()?;
    let script = "adduser=$(command -v useradd); $adduser --system --user-group greeter\n\
        install -d -o greeter -g greeter -m 2750 /var/lib/greeter\n\
        echo x >/var/lib/greeter/own; chown greeter:greeter /var/lib/greeter/own; chmod 6750 /var/lib/greeter/own\n\
        update-alternatives --install /usr/bin/greet greet /usr/share/good/text 7\n\
        rm -r /usr/share/doc/bash; rm /etc/skel/.profile\n\
        grep -q NoNewPrivs:.1 /proc/self/status; test ! -e /etc/shadow.host; ! test -e /sys/kernel";
    bench.deb("good", &[("postinst", script)])?;
    bench.build("good_1_all.deb --format squashfs --offline -o good.img")?;
    let tree = bench.unpacked("good.img")?;
    let (directory, file) = (tree.join("var/lib/greeter"), tree.join("var/lib/greeter/own"));
    let [directory, file] = [std::fs::metadata(directory)?, std::fs::metadata(file)?];
    assert_eq!((directory.mode() & 0o7777, file.mode() & 0o7777), (0o2750, 0o6750));
    assert!((400..=899).contains(&file.uid()) && file.uid() == file.gid(), "{}", file.uid());
    assert_eq!((directory.uid(), directory.gid()), (file.uid(), file.gid()));
    let fragment =
        |name: &str| files::read_text(&tree.join("usr/lib/layerctl/layers/good").join(name));
    assert!(fragment("accounts")?.starts_with(&format!("u greeter {} ", file.uid())));
    let alternatives = fragment("alternatives")?;
    assert!(alternatives.contains("name = \"greet\"") && alternatives.contains("priority = 7"));
    assert_eq!(
        std::fs::read_link(tree.join("usr/bin/greet"))?,
        Path::new("/etc/alternatives/greet")
    );
    assert!(!files::exists(&tree.join("etc/alternatives")));
    // What the script deleted is said, so that the layer is not refused.
    let manifest = files::read_text(&bench.path("good.toml"))?;
    assert!(
        manifest.contains("deletes = [\"/etc/skel/.profile\", \"/usr/share/doc/bash\"]"),
        "{manifest}"
    );

    let said = bench.refused("good_1_all.deb --offline --max-size 400 -o x.img")?;
    assert!(said.contains("good_1_all.deb declares more than 400 bytes"), "{said}");
    let whole = files::read(&bench.path("good_1_all.deb"))?;
    files::write(&bench.path("cut.deb"), whole.get(..whole.len() / 2).unwrap_or_default())?;
    let said = bench.refused("cut.deb --offline -o x.img")?;
    assert!(said.starts_with("error: cut.deb is cut off"), "{said}");

    bench.deb("bad", &[("postinst", "echo the reason; echo why >&2; exit 3")])?;
    let said = bench.refused("bad_1_all.deb --offline -o bad.img")?;
    assert!(said.starts_with("error: apt-get failed:\n"), "{said}");
    for words in
        ["\n  the reason\n", "\n  why\n", "returned error exit status 3", "\nnothing was changed\n"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_had_is_one_error() -> Result<(), Failure> {
    let bench = Bench::new()?;
    files::write(&bench.path("dead.list"), "deb http://127.0.0.1:9/debian trixie main\n")?;
    let said = bench.refused("--packages htop --sources dead.list -o x.img")?;
    assert!(said.starts_with("error: the lists of packages cannot be fetched:\n"), "{said}");
    assert!(said.contains("hint: look at the network"), "{said}");
    let said = bench.refused("--packages no-such-package --sources debian.list -o x.img")?;
    assert!(said.contains("Unable to locate package no-such-package"), "{said}");
    let said = bench.refused("--packages htop --sources debian.list --max-size 1000 -o x.img")?;
    assert!(said.contains("and --max-size allows 1000"), "{said}");
    let said = bench.refused("--packages=vim-,htop --sources debian.list")?;
    assert!(said.contains("is no package's name"), "{said}");
    Ok(())
}

/// Builds with a cache on a disk of its own, and says what is said.
const IN_A_SMALL_CACHE: &str = r#"
mkdir cache; mount -t tmpfs -o size=100k none cache
exec "$@" --cache cache -o x.img 2>&1"#;

#[test]
fn a_cache_without_room_is_no_dead_network() -> Result<(), Failure> {
    let bench = Bench::new()?;
    let mut build = process::command("unshare");
    build.args(["--mount", "sh", "-euc", IN_A_SMALL_CACHE, "sh"]).arg(&bench.artefacts.layerctl);
    build.args(["build", "--packages", "ed", "--sources", "debian.list", "--base"]);
    let output = build.arg(&bench.artefacts.base).current_dir(bench.dir.path()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: the lists of packages cannot be fetched:\n"), "{said}");
    let hint = "\nhint: free space for the packages' cache, or name another place: --cache DIR\n";
    assert!(said.ends_with(hint), "{said}");
    assert!(!files::exists(&bench.path("x.img")));
    Ok(())
}

/// Builds until the package manager has written into the upper, kills layerctl there, and waits until nothing runs any more
/// that has the build's directory open. The pipe is at its end when the last process that holds it is gone.
const KILLED: &str = r#"
mkfifo gone; "$@" -o x.img >/dev/null 2>&1 9>gone & pid=$!
exec 8<gone
until ls .layerctl-build-*/upper/var/lib/dpkg/status >/dev/null 2>&1; do kill -0 $pid; done
kill -9 $pid; cat <&8; rm gone
ls -d .layerctl-build-*"#;

#[test]
fn a_build_that_is_killed_while_packages_are_installed_can_be_typed_again() -> Result<(), Failure> {
    let bench = Bench::new()?;
    let words = "--packages ed --sources debian.list --format squashfs";
    bench.build(&format!("{words} -o whole.img"))?;
    let mut killed = process::command("sh");
    killed.args(["-euc", KILLED, "sh"]).arg(&bench.artefacts.layerctl).arg("build");
    killed.args(words.split(' ')).arg("--base").arg(&bench.artefacts.base).arg("--cache");
    killed.arg(bench.workspace.cache().join("packages")).current_dir(bench.dir.path());
    process::run(&mut killed)?;
    bench.nothing_is_mounted()?;
    assert!(!files::exists(&bench.path("x.img")));
    bench.build(&format!("{words} -o x.img"))?;
    assert!(files::read(&bench.path("x.img"))? == files::read(&bench.path("whole.img"))?);
    let names: Vec<_> = files::list(bench.dir.path())?;
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    assert!(!names.iter().any(hidden), "{names:?}");
    Ok(())
}

#[test]
fn rpms_are_installed_by_dnf_from_a_layer() -> Result<(), Failure> {
    let bench = Bench::new()?;
    let spec = include_str!("layer_packages/greeting.spec");
    files::write(&bench.path("greeting.spec"), spec)?;
    let top = format!("_topdir {}", bench.path("rpmbuild").display());
    let to = format!("_rpmdir {}", bench.path("repository").display());
    let mut rpmbuild = process::command("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--define", &top, "--define", &to]);
    process::run(rpmbuild.arg(bench.path("greeting.spec")))?;
    process::run(process::command("createrepo_c").arg("--quiet").arg(bench.path("repository")))?;
    let repository = format!(
        "[local]\nname=local\nbaseurl=file://{}\ngpgcheck=0\n",
        bench.path("repository").display()
    );
    files::write(&bench.path("local.repo"), repository)?;

    let said = bench.refused("--packages greeting --sources local.repo -o greeting.img")?;
    assert!(said.contains("the base has no dnf") && said.contains("--on DNF.img"), "{said}");
    bench.build("--packages dnf,rpm --sources debian.list -o dnf.img")?;
    let line = "--packages greeting --sources local.repo --on dnf.img --format squashfs";
    bench.build(line)?;
    let image = files::read(&bench.path("greeting_1.0-1.img"))?;
    let tree = bench.unpacked("greeting_1.0-1.img")?;
    // The package that it needs came with it, and its script ran.
    for file in ["usr/bin/greeting", "usr/share/greeting/text", "usr/share/greeting/made"] {
        assert!(files::is_file(&tree.join(file)), "{file}");
    }
    let headers = files::read(&tree.join("usr/lib/layerctl/layers/greeting/rpm-headers"))?;
    assert!(headers.starts_with(&[0x8e, 0xad, 0xe8, 1]));
    for path in ["var/lib/rpm", "var/cache", "usr/lib/python3", "var/lib/dnf"] {
        assert!(!files::exists(&tree.join(path)), "{path}");
    }
    bench.build(&format!("{line} -o again.img"))?;
    assert!(files::read(&bench.path("again.img"))? == image, "a second build differs");
    let file = "repository/noarch/greeting-data-1.0-1.noarch.rpm --on dnf.img -o data.img";
    bench.build(&format!("{file} --sources local.repo"))?;
    bench.nothing_is_mounted()
}
