//! The plan checker catches each kind of faulty plan: one that is right, and the same with one fault.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

use std::path::{Path, PathBuf};

use layers::entry::EntryName;
use layers::id::{Digest, GenerationId};
use layers::kernel::{KernelFile, Part};
use layers::layout::{BootDir, BootPaths, EFIVARS, Layout, ONE_SHOT};
use layers::plan::check::{LOWERS_MAX, VALUE_MAX, check_boot, check_change};
use layers::plan::{Access, BootName, CopyToBoot, Op, Overlay, Plan, Upper};
use layers::superblock::Format;

const RUN: &str = "/run/initramfs/layers";

fn run(path: &str) -> PathBuf {
    Path::new(RUN).join(path)
}

fn state() -> Layout {
    Layout::new(&BootPaths::default().state())
}

fn image(at: &str) -> Op {
    let image = state().image(&Digest::new([1; 32]));
    Op::MountImage { image, format: Format::Erofs, cover: None, at: run(at) }
}

fn overlay(lowers: &[&str], upper: Option<Upper>, at: &str) -> Op {
    let lowers = lowers.iter().map(|lower| run(lower)).collect();
    Op::MountOverlay(Overlay {
        source: "layerctl:1".into(),
        lowers,
        data: Vec::new(),
        upper,
        at: at.into(),
    })
}

fn etc_upper() -> Upper {
    Upper::below(&state().etc_upper(Some(GenerationId::FIRST)))
}

fn make(upper: Upper) -> Op {
    Op::MakeUpper { upper, like: None }
}

/// Base, one layer, root, a made upper, /etc, and the record: nothing is wrong with it.
fn boot() -> Vec<Op> {
    vec![
        image("base"),
        image("layer/a"),
        overlay(&["layer/a", "base"], None, "/sysroot"),
        make(etc_upper()),
        overlay(&["base/etc"], Some(etc_upper()), "/sysroot/etc"),
        Op::WriteFile { path: state().ran(), text: GenerationId::FIRST.record() },
    ]
}

const ROOT: usize = 2;
const MAKE: usize = 3;
const ETC: usize = 4;

#[test]
fn a_right_boot_passes() {
    check_boot(&Plan { ops: boot() }, &BootPaths::default()).unwrap();
}

/// A boot with one operation replaced by others.
fn with(at: usize, ops: Vec<Op>) -> Vec<Op> {
    let mut plan = boot();
    plan.splice(at..=at, ops);
    plan
}

/// A boot with one more operation at its end.
fn and(op: Op) -> Vec<Op> {
    let mut plan = boot();
    plan.push(op);
    plan
}

#[test]
fn each_fault_of_a_boot_is_caught() {
    let long = "l".repeat(VALUE_MAX + 1 - RUN.len() - 1);
    let fits = &long[1..];
    check_boot(
        &Plan { ops: with(ROOT, vec![image(fits), overlay(&[fits, "base"], None, "/sysroot")]) },
        &BootPaths::default(),
    )
    .unwrap();
    let many: Vec<String> = (0..=LOWERS_MAX).map(|number| format!("base/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let apart = Upper { work: state().uppers().join("work"), ..etc_upper() };
    let bind = |from: &str, at: &str| Op::Bind {
        from: run(from),
        at: at.into(),
        access: Access::ReadOnly,
    };
    let write_bind =
        Op::Bind { from: etc_upper().upper, at: "/sysroot/home".into(), access: Access::Writable };
    let remove = |path: PathBuf| Op::Remove { path };
    let cases: Vec<(&str, Vec<Op>)> = vec![
        ("no root is mounted", vec![image("base")]),
        ("no root is mounted", vec![]),
        (
            "has more than 255 bytes",
            with(ROOT, vec![image(&long), overlay(&[&long, "base"], None, "/sysroot")]),
        ),
        ("501 lowers, at most 500 fit", with(ROOT, vec![overlay(&many, None, "/sysroot")])),
        (
            "one lower is named twice",
            with(ROOT, vec![overlay(&["base", "layer/a", "base"], None, "/sysroot")]),
        ),
        ("1 lowers, at least 2", with(ROOT, vec![overlay(&["base"], None, "/sysroot")])),
        ("0 lowers, at least 1", with(ETC, vec![overlay(&[], Some(etc_upper()), "/sysroot/etc")])),
        (
            "upper and work directory lie apart",
            with(
                ETC,
                vec![make(apart.clone()), overlay(&["base/etc"], Some(apart), "/sysroot/etc")],
            ),
        ),
        (
            "layer/b is on nothing that is mounted",
            with(ROOT, vec![overlay(&["layer/b", "base"], None, "/sysroot")]),
        ),
        ("base is on nothing that is mounted", boot().split_off(1)),
        ("elsewhere is on nothing", with(ROOT, vec![bind("elsewhere", "/sysroot")])),
        ("ephemeral/etc/upper is on nothing", and(make(Upper::below(&run("ephemeral/etc"))))),
        ("its upper was not made before", with(MAKE, vec![])),
        (
            "two mounts write to one upper",
            and(overlay(&["base/var"], Some(etc_upper()), "/sysroot/var")),
        ),
        ("two mounts write to one upper", and(write_bind)),
        ("something is mounted there already", and(image("base"))),
        ("something is mounted there already", and(bind("base", "/sysroot"))),
        ("below a root that is not there yet", with(ROOT, vec![bind("base", "/sysroot/etc")])),
        (
            "its image is not in the store",
            and(Op::MountImage {
                image: "/x.img".into(),
                format: Format::Erofs,
                cover: None,
                at: run("x"),
            }),
        ),
        ("store is on nothing", and(Op::WipeUpper { dir: state().store(), keep: vec![] })),
        (
            "store is on nothing",
            and(Op::CopyKept { from: etc_upper().upper, to: state().store(), keep: vec![] }),
        ),
        ("a boot writes only", and(Op::WriteFile { path: state().default(), text: "x".into() })),
        ("a boot takes away only", and(remove(state().image(&Digest::new([1; 32]))))),
        ("a boot changes no image", and(stage(state().image(&Digest::new([1; 32]))))),
        (
            "a boot changes no image",
            and(Op::PublishGeneration { dir: state().generations(), text: "x".into() }),
        ),
        ("a boot changes no boot partition", and(copy(&state(), "/efi"))),
        ("a boot changes no boot partition", and(away("/efi"))),
        ("a boot sets no variable", and(once(ONE_SHOT))),
        ("a boot changes no image", and(Op::AppendLine { path: state().log(), line: "x".into() })),
    ];
    for (what, ops) in cases {
        let plan = Plan { ops };
        let fault = check_boot(&plan, &BootPaths::default());
        let text = fault.map_or_else(|fault| fault.to_string(), |()| "no fault".into());
        assert!(text.contains(what), "{what}: {text}\n{plan}");
    }
}

fn stage(to: PathBuf) -> Op {
    Op::StageImage { from: "/media/a.img".into(), to, digest: Digest::new([1; 32]), size: 1 }
}

fn write(path: PathBuf) -> Op {
    Op::WriteFile { path, text: "x".into() }
}

fn kernel() -> KernelFile {
    KernelFile { part: Part::Linux, digest: Digest::new([3; 32]) }
}

fn copy(layout: &Layout, boot: &str) -> Op {
    let (from, boot) = (layout.kernel_file(&kernel()), BootDir::new(Path::new(boot)));
    Op::CopyToBoot(CopyToBoot { from, boot, file: kernel(), size: 1 })
}

/// An entry whose name is right for `text`.
fn entry(boot: &str, text: &str) -> Op {
    let name = EntryName::of(false, GenerationId::FIRST, "text", None);
    Op::WriteEntry { boot: BootDir::new(Path::new(boot)), name, text: text.into() }
}

fn once(variable: &str) -> Op {
    Op::SetOneShot { variable: Path::new(EFIVARS).join(variable), entry: None }
}

fn away(boot: &str) -> Op {
    Op::RemoveFromBoot { boot: BootDir::new(Path::new(boot)), name: BootName::File(kernel()) }
}

/// An image, a generation, the pointer, the log: nothing is wrong with it.
fn change(layout: &Layout) -> Vec<Op> {
    vec![
        stage(layout.image(&Digest::new([1; 32]))),
        write(layout.manifest(&Digest::new([1; 32]))),
        write(layout.serial()),
        Op::PublishGeneration { dir: layout.generation(GenerationId::FIRST), text: "x".into() },
        Op::Remove { path: layout.next() },
        write(layout.default()),
        Op::AppendLine { path: layout.log(), line: "x".into() },
    ]
}

#[test]
fn each_fault_of_a_change_is_caught() {
    let layout = Layout::new(Path::new("/state"));
    check_change(&Plan { ops: change(&layout) }, &layout).unwrap();
    check_change(&Plan::default(), &layout).unwrap();
    let booted = vec![copy(&layout, "/efi"), entry("/efi", "text"), once(ONE_SHOT)];
    let booted = [booted, change(&layout)].concat();
    check_change(&Plan { ops: [booted, vec![away("/efi")]].concat() }, &layout).unwrap();
    let first = |op: Op| [vec![op], change(&layout)].concat();
    let last = |op: Op| [change(&layout), vec![op]].concat();
    let remove = |path: PathBuf| Op::Remove { path };
    let image = layout.image(&Digest::new([1; 32]));
    let generation = layout.generation(GenerationId::FIRST);
    let cases: Vec<(&str, Vec<Op>)> = vec![
        ("it comes after the pointer", last(stage(image.clone()))),
        ("it comes after the pointer", last(write(layout.serial()))),
        ("it comes after the pointer", last(remove(layout.generation(GenerationId::FIRST)))),
        ("it comes after the pointer", last(write(layout.default()))),
        ("it removes a pointer", first(remove(layout.default()))),
        ("it removes a pointer", first(remove(layout.good()))),
        ("only the log grows", first(Op::AppendLine { path: layout.serial(), line: "x".into() })),
        ("it touches what is not in the store", first(remove("/state".into()))),
        ("it touches what is not in the store", first(remove(layout.top().into()))),
        ("it touches what is not in the store", first(write("/etc/passwd".into()))),
        ("the image's name is not its digest", first(stage(layout.image(&Digest::new([2; 32]))))),
        ("it overwrites what is written once", first(write(image))),
        ("it overwrites what is written once", first(write(generation.join("generation.toml")))),
        ("it overwrites what is written once", first(write(layout.schema()))),
        (
            "it publishes no generation",
            first(Op::PublishGeneration { dir: layout.store(), text: "x".into() }),
        ),
        ("it removes a part of every store", first(remove(layout.store()))),
        ("it removes a part of every store", first(remove(layout.generations()))),
        ("it removes a part of every store", first(remove(layout.etc_uppers()))),
        (
            "a change mounts nothing",
            first(Op::MountTmpfs { at: "/run/x".into(), size: layers::size::Size::default() }),
        ),
        ("a change mounts nothing", first(make(etc_upper()))),
        ("it comes after the pointer", last(copy(&layout, "/efi"))),
        ("it comes after the pointer", last(entry("/efi", "text"))),
        ("it sets another variable", first(once("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c"))),
        ("it sets another variable, or after the pointer", last(once(ONE_SHOT))),
        ("the entry's name is not its text's", first(entry("/efi", "other"))),
        ("it copies what is not the store's", first(copy(&Layout::new(Path::new("/x")), "/efi"))),
        (
            "it touches what is not on the boot partition",
            [first(copy(&layout, "/boot")), vec![entry("/efi", "text")]].concat(),
        ),
        ("it touches what is not on the boot partition", first(entry("/state/layerctl", "text"))),
        (
            "it touches what is not on the boot partition",
            [vec![entry("/boot", "text")], last(away("/efi"))].concat(),
        ),
    ];
    for (what, ops) in cases {
        let plan = Plan { ops };
        let fault = check_change(&plan, &layout);
        let text = fault.map_or_else(|fault| fault.to_string(), |()| "no fault".into());
        assert!(text.contains(what), "{what}: {text}\n{plan}");
    }
}
