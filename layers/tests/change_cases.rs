//! What a change does to a store: each directory of `cases/change` is a store's state and a command, with the plan or
//! the refusal that must come out. Every plan passes the checker, and what it publishes is a readable generation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads its cases and ends with the first surprise"
)]

mod case;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use layers::attempts::Attempts;
use layers::boot_partition::{BootPartition, FileFacts, OneShot};
use layers::generation::{Generation, LAYERS_MAX};
use layers::id::{Digest, GenerationId, Name, Version};
use layers::kernel::{Blob, Kernel};
use layers::layout::{BootDir, Layout, ONE_SHOT};
use layers::manifest::{Kind, Manifest};
use layers::os::{Fits, Os};
use layers::plan::Op;
use layers::plan::boot::Pointers;
use layers::plan::change::{
    self, Decision, ImageFile, Install, KargsEdit, NewKernel, Refusal, Request, State, Upgrade,
    change_kargs, create_set, delete_set, import_base, mark_good, pin, rollback, sync_boot,
    uninstall, unpin,
};
use layers::plan::check::check_change;
use layers::plan::collect::cleanup;
use layers::requirement::Requirement;
use layers::scrutiny::InstallPolicy;
use layers::superblock::Format;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The length of every image of a case.
const SIZE: u64 = 4096;

/// `state.toml`: a store whose generations lie in `generations/`, with a whole image and a manifest for each image that
/// one of them names. Images go by name and version: `htop 3.4`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseState {
    default: Option<GenerationId>,
    next: Option<GenerationId>,
    good: Option<GenerationId>,
    ran: Option<GenerationId>,
    booted: Option<GenerationId>,
    /// The record of the highest versions that were marked good.
    #[serde(default)]
    versions: String,
    /// Layers that are mounted in a boot that asked for signatures.
    proven: Option<Vec<Name>>,
    /// Starts left, by generation.
    #[serde(default)]
    tries: BTreeMap<String, u8>,
    /// Starts that a new generation gets.
    attempts: Option<u8>,
    serial: Option<GenerationId>,
    #[serde(default)]
    pinned: Vec<GenerationId>,
    #[serde(default)]
    etc_uppers: Vec<GenerationId>,
    /// Paths below `layerctl/`.
    #[serde(default)]
    leftovers: Vec<String>,
    /// Images that are not there, though their manifests are.
    #[serde(default)]
    missing: Vec<String>,
    /// Images that are too short.
    #[serde(default)]
    truncated: Vec<String>,
    /// Generations that cannot be read, and why.
    #[serde(default)]
    damaged: BTreeMap<String, String>,
    /// Pointers that cannot be read, by name, and why.
    #[serde(default)]
    damaged_pointers: BTreeMap<String, String>,
    /// Kernels' releases, by generation.
    #[serde(default)]
    kernels: BTreeMap<String, String>,
    boot: Option<CaseBoot>,
    /// Images that no generation names, or more about those that one names, in the words of `change`.
    #[serde(default)]
    store: Vec<String>,
    /// What the administrator wants of checks.
    #[serde(default)]
    install: InstallPolicy,
}

/// The boot partition of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseBoot {
    /// Bytes that are free.
    free: u64,
    /// Whether nothing of ours is on it yet; else it is as the store wants it.
    #[serde(default)]
    empty: bool,
    /// Whether the boot loader takes an entry to start once, and has been told one.
    one_shot: Option<bool>,
    /// Counters of the default entry that a boot loader has changed: `+2-1`.
    counted: Option<String>,
}

/// A kernel of 10 MB with an initrd of 5 MB, both named by its release.
fn kernel(version: &str) -> Kernel {
    let blob = |what: &str, size| Blob { digest: digest(&format!("{what} {version}")), size };
    Kernel {
        version: version.into(),
        linux: blob("linux", 10_000_000),
        initrd: blob("initrd", 5_000_000),
    }
}

/// Puts on the partition what a sync writes there.
fn boot_partition(case: &CaseBoot, state: &mut State, layout: &Layout) {
    let empty = BootPartition {
        dir: BootDir::new(Path::new("/boot")),
        files: BTreeMap::new(),
        entries: BTreeMap::new(),
        foreign: BTreeSet::new(),
        missing_directories: if case.empty { 3 } else { 0 },
        free: u64::MAX / 2,
        cluster: 4096,
        machine_id: Some("4098b3f648d74c13b1f04ccfba7798e8".into()),
        state: Some("6d3376e4-fc93-4509-95ec-a21d68011da2".into()),
        one_shot: case.one_shot.map(|set| OneShot { variable: ONE_SHOT.into(), set }),
    };
    state.boot = Some(empty);
    let request = Request { time: "t".into(), asked: "boot sync".into(), once: false };
    let ops = match case.empty {
        true => Vec::new(),
        false => sync_boot(state, layout, &request).unwrap().plan.ops,
    };
    let boot = state.boot.as_mut().unwrap();
    boot.free = case.free;
    for op in ops {
        match op {
            Op::CopyToBoot(copy) => {
                let facts = FileFacts { size: copy.size, sound: None };
                boot.files.insert(copy.file, facts);
            }
            Op::WriteEntry { mut name, text, .. } => {
                if let Some(counted) = case.counted.as_ref().filter(|_| name.default) {
                    let bare = name.uncounted().to_string();
                    name = bare.replace(".conf", &format!("{counted}.conf")).parse().unwrap();
                }
                boot.entries.insert(name, text);
            }
            _ => {}
        }
    }
}

/// Every image of a case holds its own title.
fn digest(title: &str) -> Digest {
    Digest::new(Sha256::digest(title.as_bytes()).into())
}

fn title(name: &Name, version: &Version) -> String {
    format!("{name} {version}")
}

fn manifest(name: Name, version: Version, kind: Kind) -> Manifest {
    let digest = digest(&title(&name, &version));
    Manifest {
        architecture: "x86-64".into(),
        format: Format::Squashfs,
        size: SIZE,
        dirs: vec!["usr".into()],
        ..Manifest::plain(kind, name, version, digest)
    }
}

/// Reads `NAME VERSION [requires=a,b] [conflicts=a,b] [dirs=a,b] [arch=A] [bytes=TITLE-OF-ANOTHER] [needs=a,b]
/// [provides=a,b] [os=KEY:VALUE,…] [fits=KEY:VALUE,…] [base] [marks-good] [required]`; `_` stands for a blank, keys are
/// those of os-release(5).
fn described(words: &str) -> Manifest {
    let mut words = words.split_whitespace();
    let mut next = || words.next().unwrap();
    let mut manifest = manifest(next().parse().unwrap(), next().parse().unwrap(), Kind::Layer);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("requires", names) => {
                manifest.requires = requirements(names);
            }
            ("conflicts", names) => manifest.conflicts = requirements(names),
            ("needs", names) => manifest.links.needs = list(names),
            ("provides", names) => manifest.links.provides = list(names),
            ("os", fields) => manifest.os = Some(Os::parse(&release(fields))),
            ("fits", fields) => manifest.fits = Some(Fits::parse(&release(fields))),
            ("dirs", names) => manifest.dirs = list(names),
            ("arch", architecture) => manifest.architecture = architecture.into(),
            ("bytes", other) => manifest.digest = digest(&other.replace('_', " ")),
            ("base", _) => {
                manifest.kind = Kind::Base;
                manifest.dirs = ["etc", "usr", "var"].map(str::to_owned).to_vec();
                manifest.kernels = vec!["6.12.57".into()];
            }
            ("marks-good", _) => manifest.marks_good = true,
            ("required", _) => manifest.required = true,
            (other, _) => panic!("{other}: no property of an image"),
        }
    }
    manifest
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(str::to_owned).collect()
}

fn requirements(texts: &str) -> Vec<Requirement> {
    texts.split(',').map(|text| text.replace('_', " ").parse().unwrap()).collect()
}

fn release(fields: &str) -> String {
    fields.replace(':', "=").replace(',', "\n")
}

fn load(case: &Path, layout: &Layout) -> State {
    let read: CaseState = toml::from_str(&case::text(case, "state.toml")).unwrap();
    let mut state = State {
        pointers: Pointers {
            default: read.default,
            next: read.next,
            good: read.good,
            ran: read.ran,
        },
        booted: read.booted,
        versions: Some(read.versions.parse().unwrap()),
        proven: read.proven,
        tries: read.tries.iter().map(|(id, left)| (id.parse().unwrap(), Attempts(*left))).collect(),
        attempts: read.attempts.map(Attempts),
        install: read.install,
        serial: read.serial,
        pinned: read.pinned.into_iter().collect(),
        etc_uppers: read.etc_uppers.into_iter().collect(),
        leftovers: read.leftovers.iter().map(|path| layout.top().join(path)).collect(),
        damaged: read.damaged.into_iter().map(|(id, why)| (id.parse().unwrap(), why)).collect(),
        ..State::default()
    };
    for (pointer, why) in read.damaged_pointers {
        state.damaged_pointers.push((layout.boot().join(pointer), why));
    }
    let mut manifests: Vec<Manifest> = read.store.iter().map(|words| described(words)).collect();
    for entry in fs::read_dir(case.join("generations")).into_iter().flatten() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut generation = Generation::parse(&text).unwrap();
        generation.kernel = read.kernels.get(&generation.id.to_string()).map(|it| kernel(it));
        state.kernels.extend(generation.kernel.iter().flat_map(Kernel::files));
        let base = &generation.base;
        manifests.push(Manifest {
            dirs: base.dirs.clone(),
            kernels: base.kernels.clone(),
            marks_good: base.marks_good,
            ..manifest(base.name.clone(), base.version.clone(), Kind::Base)
        });
        manifests.extend(generation.layers.iter().map(|layer| Manifest {
            dirs: layer.dirs.clone(),
            requires: layer.requires.iter().cloned().map(Into::into).collect(),
            required: layer.required,
            ..manifest(layer.name.clone(), layer.version.clone(), Kind::Layer)
        }));
        state.generations.insert(generation.id, generation);
    }
    for manifest in manifests {
        let title = manifest.title();
        if !read.missing.contains(&title) {
            let short = read.truncated.contains(&title);
            state.images.insert(manifest.digest, if short { SIZE / 2 } else { SIZE });
        }
        state.manifests.entry(manifest.digest).or_insert(manifest);
    }
    if let Some(boot) = &read.boot {
        boot_partition(boot, &mut state, layout);
    }
    state
}

/// Reads `change`: verb and words on the first line, with `once` at its end for --try-once; for `install`, `import` and `upgrade` a line
/// `file …`, `name …` or `base …` for each image.
fn decide(text: &str, state: &State, layout: &Layout) -> Result<Decision, Refusal> {
    let mut lines = text.lines();
    let asked = lines.next().unwrap().to_owned();
    let (words, once) = match asked.strip_suffix(" once") {
        Some(words) => (words, true),
        None => (asked.as_str(), false),
    };
    let request = &Request { time: "2026-11-21T09:00:00Z".into(), asked: asked.clone(), once };
    let (verb, words) = words.split_once(' ').unwrap_or((words, ""));
    let words: Vec<&str> = words.split_whitespace().collect();
    let names = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect::<Vec<_>>();
    let id = || words[0].parse::<GenerationId>().unwrap();
    match verb {
        "install" => {
            let mut install = Install::default();
            for word in &words {
                match word.split_once('=') {
                    Some(("set", set)) => install.set = Some(set.parse().unwrap()),
                    None if *word == "replace" => install.replace = true,
                    _ => panic!("{word}: no option of install"),
                }
            }
            for line in lines {
                match line.trim().split_once(' ').unwrap() {
                    ("file", words) => install.files.push(file(words)),
                    ("name", name) => install.names.push(name.parse().unwrap()),
                    _ => panic!("{line}: neither file nor name"),
                }
            }
            change::install(state, layout, &install, request)
        }
        "import" => {
            let line = lines.next().unwrap();
            import_base(
                state,
                layout,
                &file(line.trim().strip_prefix("file ").unwrap()),
                None,
                request,
            )
        }
        "upgrade" => {
            let mut upgrade = Upgrade::default();
            for line in lines {
                match line.trim().split_once(' ').unwrap() {
                    ("file", words) => upgrade.layers.push(file(words)),
                    ("base", words) => upgrade.base = Some(file(words)),
                    _ => panic!("{line}: neither file nor base"),
                }
            }
            change::upgrade(state, layout, &upgrade, request)
        }
        "uninstall" => uninstall(state, layout, &names(&words), request),
        "create" => {
            create_set(state, layout, &words[0].parse().unwrap(), &names(&words[1..]), request)
        }
        "delete" => delete_set(state, layout, &words[0].parse().unwrap(), request),
        "rollback" => rollback(state, layout, words.first().map(|_| id()), request),
        "mark-good" => mark_good(state, layout, id(), request),
        "kargs" => {
            let append = words.iter().map(|&word| word.to_owned()).collect();
            let edit = KargsEdit { append, ..KargsEdit::default() };
            change_kargs(state, layout, &edit, request)
        }
        "sync" => sync_boot(state, layout, request),
        "pin" => pin(state, layout, id(), request),
        "unpin" => unpin(state, layout, id(), request),
        "cleanup" => cleanup(state, layout, words[0].parse().unwrap(), request),
        _ => panic!("{verb}: no verb"),
    }
}

/// Reads an image's words; `kernel=VERSION` comes last.
fn file(words: &str) -> ImageFile {
    let (words, version) = match words.split_once(" kernel=") {
        Some((words, version)) => (words, Some(version)),
        None => (words, None),
    };
    let manifest = described(words);
    let kernel = version.map(|version| NewKernel {
        kernel: kernel(version),
        linux: "/work/kernel".into(),
        initrd: "/work/initrd".into(),
    });
    let path = format!("/media/{}_{}.img", manifest.name, manifest.version).into();
    ImageFile { path, manifest, signed: None, kernel }
}

fn show(decision: &Decision) -> String {
    let mut text = String::new();
    if decision.is_unchanged() {
        text.push_str("unchanged\n");
    }
    for line in &decision.summary {
        writeln!(text, "say {line}").unwrap();
    }
    writeln!(text, "\n{}", decision.plan).unwrap();
    for op in &decision.plan.ops {
        if let Op::PublishGeneration { text: generation, .. } = op {
            writeln!(text, "{generation}").unwrap();
        }
    }
    text
}

fn outcome(case: &Path) -> Result<String, String> {
    let layout = Layout::new(Path::new("/state"));
    let state = load(case, &layout);
    let decision = decide(&case::text(case, "change"), &state, &layout)
        .map_err(|refusal| format!("{}\nhint: {}", refusal.what, refusal.hint))?;
    check_change(&decision.plan, &layout)
        .unwrap_or_else(|fault| panic!("{}: {fault}", case.display()));
    for op in &decision.plan.ops {
        if let Op::PublishGeneration { dir, text } = op {
            let generation = Generation::parse(text).unwrap();
            assert_eq!(*dir, layout.generation(generation.id), "{}", case.display());
            assert!(!state.ids().contains(&generation.id), "{}", case.display());
        }
    }
    Ok(show(&decision))
}

#[test]
fn every_change_case_gives_its_plan_or_its_refusal() {
    case::run_all("change", 90, outcome);
}

#[test]
fn one_layer_more_than_fits_is_refused_before_anything_is_written() {
    let layout = Layout::new(Path::new("/state"));
    let case = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases/change/install-a-file-puts-it-on-top");
    let state = load(&case, &layout);
    let room = LAYERS_MAX - state.start().unwrap().layers.len();
    let install = |count: usize| {
        let files = (0..count).map(|number| file(&format!("many{number} 1"))).collect();
        let request = Request { time: "t".into(), asked: "install".into(), once: false };
        change::install(&state, &layout, &Install { files, ..Install::default() }, &request)
    };
    check_change(&install(room).unwrap().plan, &layout).unwrap();
    let refusal = install(room + 1).unwrap_err();
    assert!(refusal.what.ends_with("500 layers; at most 499 fit"), "{refusal}");
}
