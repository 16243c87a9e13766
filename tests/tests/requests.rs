//! Packages that are asked for on a machine, and overrides of the base's own, with the real base and the real apt.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Output;
use tempfile::TempDir;
use tests::artefacts::Artefacts;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::sources::Sources;
use tests::workspace::Workspace;

/// A store with the base as generation 1.
struct Scene {
    artefacts: Artefacts,
    place: TempDir,
    cache: PathBuf,
}

impl Scene {
    fn new() -> Result<Self, Failure> {
        let workspace = Workspace::here();
        let artefacts = Artefacts::load(&workspace)?;
        let place = TempDir::new_in(workspace.target())?;
        let lines = Sources::of_this_machine()?.lines().join("\n") + "\n";
        files::write(&place.path().join("debian.list"), lines)?;
        let cache = workspace.cache().join("packages");
        files::make_dir(&cache)?;
        let scene = Self { artefacts, place, cache };
        let mut copy = process::command("cp");
        process::run(copy.arg("-a").arg(&scene.artefacts.state).arg(scene.path("state")))?;
        Ok(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn output(&self, words: &str, sources: Option<&str>) -> Result<Output, Failure> {
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("--root").arg(self.path("state")).args(words.split(' '));
        if let Some(sources) = sources {
            command.arg("--sources").arg(sources).arg("--cache").arg(&self.cache);
        }
        Ok(command.current_dir(self.place.path()).output()?)
    }

    fn done(&self, words: &str, sources: Option<&str>) -> Result<String, Failure> {
        let output = self.output(words, sources)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}: {said}");
        Ok(said + &String::from_utf8_lossy(&output.stdout))
    }

    /// Does what has the package manager at work.
    fn resolve(&self, words: &str) -> Result<String, Failure> {
        self.done(words, Some("debian.list"))
    }

    /// The generation that boots next.
    fn newest(&self) -> Result<Value, Failure> {
        let status: Value = serde_json::from_str(&self.done("status --json", None)?)?;
        Ok(status.pointer("/generations/0").cloned().unwrap_or_default())
    }

    /// Names of its layers, bottom first, and its requests.
    fn state(&self) -> Result<(Vec<String>, Vec<String>), Failure> {
        let newest = self.newest()?;
        let list = |key: &str, text: fn(&Value) -> Option<&str>| {
            let all = newest.get(key).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|one| text(one).map(str::to_owned)).collect::<Vec<_>>()
        };
        Ok((list("layers", |one| one.get("name")?.as_str()), list("requests", Value::as_str)))
    }

    /// A package of the base's in another version, which brings one program.
    fn replacement(&self) -> Result<(), Failure> {
        let tree = self.path("procps");
        files::make_dir(&tree.join("DEBIAN"))?;
        files::make_dir(&tree.join("usr/bin"))?;
        files::write(&tree.join("usr/bin/ps"), "#!/bin/sh\necho another ps\n")?;
        let control = "Package: procps\nVersion: 9:99\nArchitecture: all\nInstalled-Size: 4\n\
            Maintainer: x <x@example.com>\nDescription: x\n";
        files::write(&tree.join("DEBIAN/control"), control)?;
        let mut build = process::command("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&tree);
        Ok(process::run(build.arg(self.path("procps_99_all.deb")))?)
    }

    /// A base without the package procps, of a newer version, in a directory to make a repository of.
    fn lesser_base(&self) -> Result<(), Failure> {
        let (tree, image) = (self.path("tree"), self.path("served/lesser.img"));
        files::make_dir(&self.path("served"))?;
        let mut unpack = process::command("unsquashfs");
        unpack.args(["-quiet", "-no-progress", "-d"]).arg(&tree).arg(&self.artefacts.base);
        process::run(&mut unpack)?;
        let mut purge = process::command("chroot");
        process::run(purge.arg(&tree).args(["dpkg", "--purge", "procps"]))?;
        let mut build = process::command(&self.artefacts.layerctl);
        build.arg("build").arg(&tree).args(["--kind", "base", "--name", "debian"]);
        build.args(["--version", "13.1", "--format", "erofs", "-o"]).arg(&image);
        Ok(process::run(&mut build)?)
    }
}

fn store_of(scene: &Scene) -> Result<Vec<PathBuf>, Failure> {
    Ok(files::list(&scene.path("state/layerctl/store"))?)
}

fn ends_in(paths: &[PathBuf], ending: &str) -> usize {
    paths.iter().filter(|path| path.extension().is_some_and(|it| it == ending)).count()
}

#[test]
fn requests_follow_the_base() -> Result<(), Failure> {
    let scene = Scene::new()?;
    scene.resolve("install --packages htop")?;
    let said = scene.resolve("install --packages procps")?;
    assert!(said.contains("procps is inactive: the base has procps "), "{said}");
    let (layers, requests) = scene.state()?;
    assert_eq!(layers, ["htop"]);
    assert_eq!(requests.first().map(String::as_str), Some("packages htop: htop"));
    let newest = scene.newest()?;
    let trigger = newest.pointer("/triggers/0/digest").and_then(Value::as_str);
    assert!(trigger.is_some(), "dpkg's database is composed: {newest}");

    // A request that the package manager cannot meet leaves all as it was.
    let before = files::walk(&scene.path("state"))?;
    files::write(&scene.path("nowhere.list"), "deb [trusted=yes] file:/nowhere ./\n")?;
    for (words, sources) in [
        ("install --packages nginx", "nowhere.list"),
        ("install --packages no-such-package", "debian.list"),
        ("override remove no-such-package", "debian.list"),
        ("override remove -- --force-all", "debian.list"),
    ] {
        let output = scene.output(words, Some(sources))?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("\nnothing was changed\n") && said.contains("\nhint: "), "{said}");
        assert_eq!(files::walk(&scene.path("state"))?, before, "{words}");
    }

    // A newer base in a repository: one change brings it, with the layers that are made anew for it.
    scene.lesser_base()?;
    scene.done("repo index served", None)?;
    scene.done("repo add main served", None)?;
    let told: Value = serde_json::from_str(&scene.done("--quiet upgrade --check --json", None)?)?;
    assert_eq!(told.pointer("/base/to").and_then(Value::as_str), Some("13.1"), "{told}");
    assert_eq!(told.pointer("/packages").and_then(Value::as_bool), Some(true), "{told}");
    let id = |generation: &Value| generation.pointer("/id").and_then(Value::as_u64);
    let before = id(&scene.newest()?);
    let said = scene.resolve("upgrade")?;
    assert!(said.contains("base debian ") && said.contains("added procps "), "{said}");
    let newest = scene.newest()?;
    assert_eq!(id(&newest), before.map(|before| before + 1), "one change: {newest}");
    let version = newest.pointer("/base/version").and_then(Value::as_str);
    assert_eq!(version, Some("13.1"), "{newest}");
    let (layers, requests) = scene.state()?;
    assert_eq!(layers, ["htop", "procps"]);
    assert_eq!(requests, ["packages htop: htop", "packages procps: procps"]);

    let base = scene.artefacts.base.display().to_string();
    let said = scene.resolve(&format!("base import {base}"))?;
    assert!(said.contains("procps is inactive: ") && said.contains("removed procps "), "{said}");
    scene.done("uninstall procps", None)?;
    let (layers, requests) = scene.state()?;
    assert_eq!(layers, ["htop"]);
    assert_eq!(requests, ["packages htop: htop"]);
    Ok(())
}

#[test]
fn packages_of_the_base_are_overridden_and_come_back() -> Result<(), Failure> {
    let scene = Scene::new()?;
    scene.resolve("override remove procps")?;
    let (layers, requests) = scene.state()?;
    assert_eq!(layers, ["override-procps"]);
    assert_eq!(requests, ["remove procps"]);
    assert!(files_of(&scene, "override-procps")?.contains("/usr/bin/ps"), "a whiteout is a path");
    let removed = scene.done("diff 1 2", None)?;
    let line = removed.lines().find(|line| line.contains(" procps ")).unwrap_or(&removed);
    assert!(line.contains("removed"), "{removed}");
    let gone = files_of(&scene, "override-procps")?;
    assert!(gone.contains("/var/lib/dpkg/info/procps.list"), "nothing is left of it: {gone}");

    scene.replacement()?;
    scene.resolve("override replace procps_99_all.deb")?;
    let (layers, requests) = scene.state()?;
    assert_eq!(layers, ["override-procps"]);
    assert!(requests.iter().all(|it| it.starts_with("replace procps 9:99 ")), "{requests:?}");
    assert_eq!(ends_in(&store_of(&scene)?, "deb"), 1, "the package's file is kept");
    // Another base is overridden without the file.
    files::remove_file(&scene.path("procps_99_all.deb"))?;
    scene.resolve("install --packages tree")?;
    assert_eq!(scene.state()?.0, ["override-procps", "tree"]);

    let output = scene.output("override reset htop", Some("debian.list"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: package htop is not overridden\n"), "{said}");
    // Where the configuration says so, a name that nobody has is a package's.
    let (program, sources) = (&scene.cache, scene.path("debian.list"));
    let config =
        format!("[packages]\ninstall = true\nsources = {sources:?}\ncache = {program:?}\n");
    files::write(&scene.path("layerctl.toml"), config)?;
    scene.done("--config layerctl.toml install jq", None)?;
    assert_eq!(scene.state()?.0, ["override-procps", "tree", "jq"]);
    scene.resolve("override reset --all")?;
    let (layers, requests) = scene.state()?;
    assert_eq!(layers, ["tree", "jq"]);
    assert_eq!(requests, ["packages tree: tree", "packages jq: jq"]);
    scene.done("rollback 1", None)?;
    scene.done("cleanup --keep 1", None)?;
    assert_eq!(ends_in(&store_of(&scene)?, "deb"), 0, "nobody needs the file any more");
    Ok(())
}

fn files_of(scene: &Scene, layer: &str) -> Result<String, Failure> {
    scene.done(&format!("files {layer}"), None)
}
