//! The verbs that are stopped, and the images that they bring.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use layers::attempts::Attempts;
use layers::id::{GenerationId, Name, SetName};
use layers::kernel::{Blob, Kernel};
use layers::layout::Layout;
use layers::manifest::{Kind, Manifest};
use layers::plan::change::{
    Decision, ImageFile, Install, NewKernel, Refusal, Request, State, create_set, import_base,
    install, mark_good, rollback,
};
use layers::store::{publish, stage};

/// Images with real superblocks, made once.
pub(crate) static IMAGES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    for name in ["base", "base2", "htop", "htop2", "jq", "app", "libfoo"] {
        let tree = dir.path().join(format!("{name}.d"));
        fs::create_dir_all(tree.join("usr/share")).unwrap();
        fs::write(tree.join("usr/share").join(name), name).unwrap();
        let made = Command::new("mksquashfs")
            .args([&tree, &dir.path().join(format!("{name}.img"))])
            .args(["-comp", "gzip", "-quiet", "-no-progress", "-noappend"])
            .output()
            .expect("mksquashfs is not installed: apt-get install squashfs-tools");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    dir
});

pub(crate) fn image(
    file: &str,
    name: &str,
    version: &str,
    kind: Kind,
    requires: &[&str],
) -> ImageFile {
    let path = IMAGES.path().join(format!("{file}.img"));
    let superblock = stage::superblock(&path).unwrap().unwrap();
    let manifest = Manifest {
        format: superblock.format,
        size: fs::metadata(&path).unwrap().len(),
        dirs: vec!["usr".into()],
        requires: requires.iter().map(|name| name.parse().unwrap()).collect(),
        ..Manifest::plain(
            kind,
            name.parse().unwrap(),
            version.parse().unwrap(),
            stage::hash(&path, &mut |_| {}).unwrap(),
        )
    };
    ImageFile { path, manifest, signed: None, kernel: None }
}

pub(crate) type Verb = dyn Fn(&State, &Layout, &Request) -> Result<Decision, Refusal>;

pub(crate) fn verb(
    decide: impl Fn(&State, &Layout, &Request) -> Result<Decision, Refusal> + 'static,
) -> Box<Verb> {
    Box::new(decide)
}

pub(crate) fn import(file: &'static str, version: &'static str) -> Box<Verb> {
    verb(move |state, layout, request| {
        import_base(state, layout, &image(file, "debian", version, Kind::Base, &[]), None, request)
    })
}

/// A base that marks boots good, with a kernel and its initrd.
pub(crate) fn import_whole(file: &'static str, version: &'static str) -> Box<Verb> {
    verb(move |state, layout, request| {
        let mut base = image(file, "debian", version, Kind::Base, &[]);
        base.manifest.marks_good = true;
        base.manifest.kernels = vec![version.to_owned()];
        let part = |what: &str| {
            let path = IMAGES.path().join(format!("{what}-{version}"));
            // Tests that run beside this one read the same file: it is replaced whole.
            let file = tempfile::NamedTempFile::new_in(IMAGES.path()).unwrap();
            fs::write(file.path(), format!("{what} {version}")).unwrap();
            file.persist(&path).unwrap();
            let digest = stage::hash(&path, &mut |_| {}).unwrap();
            (Blob { digest, size: fs::metadata(&path).unwrap().len() }, path)
        };
        let ((linux, linux_path), (initrd, initrd_path)) = (part("linux"), part("initrd"));
        let kernel = Kernel { version: version.to_owned(), linux, initrd };
        base.kernel = Some(NewKernel { kernel, linux: linux_path, initrd: initrd_path });
        import_base(state, layout, &base, None, request)
    })
}

pub(crate) fn once(
    decide: impl Fn(&State, &Layout, &Request) -> Result<Decision, Refusal> + 'static,
) -> Box<Verb> {
    verb(move |state, layout, request| {
        decide(state, layout, &Request { once: true, ..request.clone() })
    })
}

pub(crate) fn add(files: &'static [(&str, &str, &str, &[&str])], replace: bool) -> Box<Verb> {
    verb(move |state, layout, request| {
        let files = files
            .iter()
            .map(|(file, name, version, requires)| {
                image(file, name, version, Kind::Layer, requires)
            })
            .collect();
        install(state, layout, &Install { files, replace, ..Install::default() }, request)
    })
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn id(number: u32) -> GenerationId {
    number.to_string().parse().unwrap()
}

pub(crate) fn make_set(set: &'static str, members: &'static [&str]) -> Box<Verb> {
    verb(move |state, layout, request| {
        let members: Vec<Name> = members.iter().map(|member| name(member)).collect();
        create_set(state, layout, &set.parse::<SetName>().unwrap(), &members, request)
    })
}

pub(crate) fn start() -> Vec<Box<Verb>> {
    vec![import("base", "13"), add(&[("htop", "htop", "3.4", &[])], false)]
}

pub(crate) fn three() -> Vec<Box<Verb>> {
    let mut verbs = start();
    verbs.push(add(&[("jq", "jq", "1.7", &[])], false));
    verbs
}

/// A store whose generations have kernels and attempts.
pub(crate) fn whole() -> Vec<Box<Verb>> {
    vec![import_whole("base", "13"), add(&[("htop", "htop", "3.4", &[])], false)]
}

pub(crate) fn go_back(target: Option<u32>) -> Box<Verb> {
    verb(move |state, layout, request| rollback(state, layout, target.map(id), request))
}

pub(crate) fn try_once(target: u32) -> Box<Verb> {
    once(move |state, layout, request| rollback(state, layout, Some(id(target)), request))
}

pub(crate) fn good(number: u32) -> Box<Verb> {
    verb(move |state, layout, request| mark_good(state, layout, id(number), request))
}

/// As a boot leaves them that counts starts.
pub(crate) fn attempts_left(number: u32, left: u8) -> Box<Verb> {
    verb(move |_, layout, _| {
        publish::file(&layout.tries_of(id(number)), &Attempts(left).record()).unwrap();
        Ok(Decision::unchanged("attempts".into()))
    })
}
