//! One boot, several candidates: a real store, real images, and a host that mounts nothing but can refuse to.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test: makes a store in a temporary directory and panics where something is wrong"
)]

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use initrd::boot::{BootError, Booted, Effects, FindInit, Machine, boot};
use layers::{
    cmdline::BootRequest,
    host::Recorder,
    id::{Digest, GenerationId},
    index::Index,
    layout::{BootPaths, Layout},
    policy::Mode,
    store::{read, stage},
};

/// A store with two bases and a layer, in generations 1 (old base), 2 (new base, the default) and 3 (new base, layer).
struct Store {
    _directory: tempfile::TempDir,
    paths: BootPaths,
    layout: Layout,
    old: Digest,
    new: Digest,
    layer: Digest,
    /// What drivers were asked for.
    drivers: RefCell<Vec<&'static str>>,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = BootPaths {
            run: directory.path().join("run"),
            sysroot: directory.path().join("sysroot"),
        };
        fs::create_dir_all(paths.state()).unwrap();
        read::init(&paths.state()).unwrap();
        let layout = Layout::new(&paths.state());
        let [old, new, layer] =
            ["old", "new", "layer"].map(|text| image(&layout, directory.path(), text));
        let store = Self {
            _directory: directory,
            paths,
            layout,
            old,
            new,
            layer,
            drivers: RefCell::default(),
        };
        store.generation(1, store.old, None);
        store.generation(2, store.new, None);
        store.generation(3, store.new, Some(""));
        store.point("default", 3);
        store
    }

    fn generation(&self, id: u32, base: Digest, layer: Option<&str>) {
        let mut text = format!(
            "schema = 1\nid = {id}\ncreated = \"2026-01-01T00:00:00Z\"\nreason = \"test\"\n\
             [base]\nname = \"debian\"\nversion = \"13\"\ndigest = \"{base}\"\ndirs = [\"etc\", \"usr\", \"var\"]\n"
        );
        text += "[sets]\n";
        match layer {
            None => text += "default = []\n",
            Some(more) => {
                text += &format!(
                    "default = [\"htop\"]\n[[layers]]\nname = \"htop\"\nversion = \"3\"\ndigest = \"{}\"\n\
                     dirs = [\"usr\"]\nrequested = true\n{more}",
                    self.layer
                );
            }
        }
        let directory = self.layout.generation(id.to_string().parse().unwrap());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("generation.toml"), text).unwrap();
    }

    fn point(&self, pointer: &str, id: u32) {
        fs::write(self.layout.boot().join(pointer), format!("{id:010}\n")).unwrap();
    }

    fn boot(&self, cmdline: &str, mut host: Recorder<'_>) -> Result<Booted, BootError> {
        self.boot_on(cmdline, &mut host, &|_: &Path| Ok(PathBuf::from("/sbin/init")))
    }

    fn boot_on(
        &self,
        cmdline: &str,
        host: &mut Recorder<'_>,
        find_init: &FindInit<'_>,
    ) -> Result<Booted, BootError> {
        let request = BootRequest::parse(cmdline);
        let machine = Machine { cmdline: cmdline.to_owned(), ..Machine::default() };
        let load_driver = &mut |format| self.drivers.borrow_mut().push(format);
        boot(&request, &machine, &self.paths, &mut Effects { host, load_driver, find_init })
    }

    /// Which generation boots, and what the ones before it died of.
    fn booted(&self, cmdline: &str, host: Recorder<'_>) -> (u32, Vec<String>) {
        let booted = self.boot(cmdline, host).unwrap();
        let failed = booted.report.failed.into_iter();
        (booted.report.generation.get(), failed.map(|f| format!("{}: {}", f.id, f.why)).collect())
    }
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

#[test]
fn the_default_boots_when_nothing_is_wrong() {
    let store = Store::new();
    assert_eq!(store.booted("", Recorder::new()), (3, vec![]));
    assert_eq!(store.booted("layers.generation=previous", Recorder::new()), (2, vec![]));
    assert_eq!(store.booted("layers.generation=1", Recorder::new()), (1, vec![]));
}

#[test]
fn the_driver_of_each_image_format_is_asked_for_once_before_each_attempt() {
    let store = Store::new();
    store.boot("", Recorder::new()).unwrap();
    assert_eq!(store.drivers.take(), ["squashfs"]);
    store.boot("", Recorder::new().refuse("/layer/htop")).unwrap();
    assert_eq!(store.drivers.take(), ["squashfs", "squashfs"]);
}

#[test]
fn previous_is_what_the_default_was_made_from() {
    let store = Store::new();
    let file = store.layout.generation_file("3".parse().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("id = 3\n", "id = 3\nparent = 1\n")).unwrap();
    assert_eq!(store.booted("layers.generation=previous", Recorder::new()), (1, vec![]));
}

#[test]
fn a_missing_base_is_left_for_the_next_candidate() {
    let store = Store::new();
    fs::remove_file(store.layout.image(&store.new)).unwrap();
    let (id, failed) = store.booted("", Recorder::new());
    assert_eq!(id, 1);
    let why = format!("base image {} is missing from the store", store.new.short());
    assert_eq!(failed, [format!("3: {why}"), format!("2: {why}")]);
}

#[test]
fn a_truncated_base_is_left_for_the_next_candidate() {
    let store = Store::new();
    let image = fs::OpenOptions::new().write(true).open(store.layout.image(&store.new)).unwrap();
    image.set_len(200).unwrap();
    let (id, failed) = store.booted("", Recorder::new());
    assert_eq!(id, 1);
    assert!(failed[0].contains("is truncated: its squashfs superblock says"), "{failed:?}");
}

#[test]
fn a_record_that_does_not_parse_is_left_for_the_next_candidate() {
    let store = Store::new();
    fs::write(store.layout.generation_file("3".parse().unwrap()), "schema = 1\nid = \n").unwrap();
    let (id, failed) = store.booted("", Recorder::new());
    assert_eq!(id, 2);
    assert!(failed[0].contains("generation.toml does not parse:"), "{failed:?}");
    assert!(!failed[0].contains('\n'), "one line: {failed:?}");
}

#[test]
fn a_damaged_pointer_is_told_and_the_newest_generation_boots() {
    let store = Store::new();
    fs::write(store.layout.default(), "\0\0\0\0\0\0\0\0\0\0\0").unwrap();
    let booted = store.boot("", Recorder::new()).unwrap();
    assert_eq!(booted.report.generation.get(), 3);
    assert!(booted.report.problems[0].contains("boot/default holds no generation number"));
}

/// Gives generation 3 an index of its base and layer.
fn indexed(store: &Store) -> Digest {
    let index = image(&store.layout, store._directory.path(), "index");
    let inputs = Index::inputs_of([store.new, store.layer]);
    let file = store.layout.generation_file("3".parse().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    let line = format!("indexes = [\"{index}: 0 1, of {inputs}\"]\n[base]");
    fs::write(&file, text.replacen("[base]", &line, 1)).unwrap();
    index
}

#[test]
fn a_root_is_seen_through_its_index() {
    let store = Store::new();
    indexed(&store);
    let mut host = Recorder::new();
    let booted = store.boot_on("", &mut host, &|_: &Path| Ok("/sbin/init".into())).unwrap();
    assert!(booted.report.index.is_some());
    assert_eq!(booted.report.problems, [""; 0]);
    let ops: Vec<String> = host.ops.iter().map(ToString::to_string).collect();
    let root = ops.iter().find(|op| op.contains("overlay layerctl:3 at")).unwrap();
    assert!(root.contains("lower=/") && root.contains("/index data=/"), "{root}");
}

#[test]
fn an_index_that_cannot_be_used_gives_way_to_the_plain_stack() {
    for image_alone in [true, false] {
        let store = Store::new();
        let index = indexed(&store).to_string();
        let refused = if image_alone { index.as_str() } else { "data=" };
        let booted = store.boot("", Recorder::new().refuse(refused)).unwrap();
        assert_eq!((booted.report.generation.get(), booted.report.layers.len()), (3, 1));
        assert_eq!((booted.report.index, booted.report.failed.len()), (None, 0));
        let [problem] = booted.report.problems.as_slice() else { panic!("{:?}", booted.report) };
        assert!(problem.ends_with(": the root is a plain stack"), "{problem}");
    }
}

#[test]
fn a_root_that_cannot_be_entered_through_its_index_is_tried_without() {
    let store = Store::new();
    indexed(&store);
    let tried = RefCell::new(0);
    let find = |_: &Path| {
        *tried.borrow_mut() += 1;
        match *tried.borrow() {
            1 => Err("there is no /sbin/init".to_owned()),
            _ => Ok(PathBuf::from("/sbin/init")),
        }
    };
    let booted = store.boot_on("", &mut Recorder::new(), &find).unwrap();
    assert_eq!((booted.report.generation.get(), booted.report.index), (3, None));
    assert!(booted.report.problems[0].contains("no /sbin/init"), "{:?}", booted.report.problems);
}

#[test]
fn a_layer_that_does_not_mount_is_left_out_and_its_mounts_are_undone() {
    let store = Store::new();
    let mut host = Recorder::new().refuse("/layer/htop");
    let find = |_: &Path| Ok(PathBuf::from("/sbin/init"));
    let booted = store.boot_on("", &mut host, &find).unwrap();
    assert_eq!(booted.report.generation.get(), 3);
    assert_eq!(booted.report.layers, []);
    assert!(booted.report.skipped[0].why.starts_with("its image cannot be mounted: "));
    assert_eq!(host.unmounted, [store.paths.base()]);
}

#[test]
fn a_required_layer_that_does_not_mount_costs_the_candidate() {
    let store = Store::new();
    store.generation(3, store.new, Some("required = true\n"));
    let (id, failed) = store.booted("", Recorder::new().refuse("/layer/htop"));
    assert_eq!(id, 2);
    assert!(failed[0].contains("and it is required"), "{failed:?}");
}

#[test]
fn a_state_file_system_that_cannot_be_written_boots_with_uppers_in_memory() {
    let store = Store::new();
    let host = Recorder::new().refuse("layerctl/upper/etc/3");
    let booted = store.boot("", host).unwrap();
    assert_eq!(booted.report.generation.get(), 3);
    let modes: Vec<Mode> = booted.report.writable.iter().map(|w| w.mode).collect();
    assert_eq!(modes, [Mode::Frozen; 3]);
    let told = |problem: &String| problem.contains("cannot be written");
    assert!(booted.report.problems.iter().all(told), "{:?}", booted.report.problems);
}

/// Generation 2 ran, and 3 is about to start from its /etc.
fn second_ran() -> Store {
    let store = Store::new();
    for upper in ["etc/2/upper", "var/upper", "home/upper"] {
        fs::create_dir_all(store.layout.uppers().join(upper)).unwrap();
    }
    store.point("ran", 2);
    store
}

fn modes(booted: &Booted) -> [Mode; 3] {
    let modes: Vec<Mode> = booted.report.writable.iter().map(|w| w.mode).collect();
    modes.try_into().unwrap()
}

/// Asserts that a problem with `text` in it was told.
fn told(booted: &Booted, text: &str) {
    let problems = &booted.report.problems;
    assert!(problems.iter().any(|problem| problem.contains(text)), "{problems:?}");
}

#[test]
fn an_etc_that_cannot_be_derived_is_read_as_it_was() {
    let store = second_ran();
    let booted = store.boot("", Recorder::new().refuse("derive upper")).unwrap();
    assert_eq!(modes(&booted), [Mode::Frozen, Mode::Persistent, Mode::Persistent]);
    told(&booted, "/etc: it cannot be brought in line with the images");
}

#[test]
fn a_path_that_cannot_be_bound_stays_in_the_overlay_and_all_else_is_as_usual() {
    let store = second_ran();
    let mut host = Recorder::new().refuse("make bound lib/docker");
    let find = |_: &Path| Ok(PathBuf::from("/sbin/init"));
    let booted = store.boot_on("", &mut host, &find).unwrap();
    assert_eq!(modes(&booted), [Mode::Persistent; 3]);
    told(&booted, "/var/lib/docker is part of the overlay");
    let derived = store.layout.etc_upper("3".parse().ok());
    let lines: Vec<String> = host.ops.iter().map(ToString::to_string).collect();
    let place = |text: &str| lines.iter().rposition(|line| line.starts_with(text)).unwrap();
    let removed = place(&format!("remove {}", derived.display()));
    assert!(removed < place("derive upper"), "the second plan derives it anew");
}

#[test]
fn an_upper_that_cannot_be_mounted_is_left_and_the_images_own_is_shown() {
    let store = second_ran();
    let upper = store.layout.uppers().join("var/upper");
    let host = Recorder::new().refuse(&format!("/sysroot/var lower={}", upper.display()));
    let booted = store.boot("layers.frozen=var", host).unwrap();
    assert_eq!(modes(&booted), [Mode::Persistent, Mode::Ephemeral, Mode::Persistent]);
    told(&booted, "/var: its upper cannot be used and is left as it is");
}

#[test]
fn an_etc_that_was_derived_for_a_generation_that_does_not_boot_is_taken_back() {
    let store = second_ran();
    let mut host = Recorder::new();
    let tries = std::cell::Cell::new(0);
    let find = |_: &Path| {
        tries.set(tries.get() + 1);
        if tries.get() == 1 { Err("there is no init".to_owned()) } else { Ok("/init".into()) }
    };
    let booted = store.boot_on("", &mut host, &find).unwrap();
    assert_eq!(booted.report.generation.get(), 2);
    let derived = store.layout.etc_upper("3".parse().ok());
    assert!(host.ops.contains(&layers::plan::Op::Remove { path: derived }));
}

#[test]
fn a_record_that_cannot_be_written_does_not_cost_the_boot() {
    let store = Store::new();
    let booted = store.boot("", Recorder::new().refuse("write ")).unwrap();
    assert_eq!(booted.report.generation.get(), 3);
    assert!(booted.report.problems[0].starts_with("a record of this boot could not be written"));
}

#[test]
fn a_root_without_init_is_left_and_unmounted() {
    let store = Store::new();
    let mut host = Recorder::new();
    let find = |_: &Path| Err("there is no init".to_owned());
    let error = store.boot_on("", &mut host, &find).unwrap_err();
    let BootError::NoCandidate(failed) = error else { panic!("{error}") };
    let ids: Vec<GenerationId> = failed.iter().map(|failed| failed.id).collect();
    assert_eq!(ids, ["3", "2", "1"].map(|id| id.parse().unwrap()));
    let mounts = host.ops.iter().filter(|op| op.mount_point().is_some()).count();
    assert_eq!(host.unmounted.len(), mounts);
}

#[test]
fn an_image_of_other_bytes_is_left_where_the_boot_compares_them() {
    let store = Store::new();
    let image = store.layout.image(&store.new);
    let mut bytes = fs::read(&image).unwrap();
    // Past the superblock: nothing but the digest tells.
    bytes[100] ^= 1;
    fs::write(&image, bytes).unwrap();
    assert_eq!(store.booted("", Recorder::new()), (3, vec![]));
    let (id, failed) = store.booted("layers.verify", Recorder::new());
    assert_eq!(id, 1);
    assert!(failed[0].contains("has other bytes: they hash to "), "{failed:?}");
}

/// The operations of one boot with three attempts left for generation 3.
fn counted(store: &Store, mut host: Recorder<'_>) -> (Booted, Vec<String>) {
    let record = store.layout.tries_of("3".parse().unwrap());
    fs::write(record, "003\n").unwrap();
    let find = |_: &Path| Ok(PathBuf::from("/sbin/init"));
    let booted = store.boot_on("", &mut host, &find).unwrap();
    (booted, host.ops.iter().map(ToString::to_string).collect())
}

#[test]
fn an_attempt_is_counted_off_once_and_before_the_first_mount() {
    let store = Store::new();
    store.point("next", 3);
    let (booted, ops) = counted(&store, Recorder::new().refuse("/layer/htop"));
    assert_eq!(booted.report.generation.get(), 3);
    assert!(
        ops[0].starts_with("overwrite ") && ops[0].ends_with("boot/tries/3 \"002\""),
        "{ops:?}"
    );
    assert!(ops[1].starts_with("remove ") && ops[1].ends_with("boot/next"), "{ops:?}");
    let again =
        ops[2..].iter().filter(|op| op.contains("/boot/tries/") || op.contains("/boot/next"));
    assert_eq!(again.count(), 0, "the plan was made anew: {ops:?}");
}

#[test]
fn an_attempt_that_cannot_be_counted_is_told_and_does_not_cost_the_boot() {
    let store = Store::new();
    let (booted, _) = counted(&store, Recorder::new().refuse("overwrite "));
    assert_eq!(booted.report.generation.get(), 3);
    assert!(booted.report.problems[0].starts_with("a record of this boot could not be written"));
}

#[test]
fn a_count_that_cannot_be_read_gives_no_attempt_and_is_told() {
    let store = Store::new();
    fs::write(store.layout.tries_of("3".parse().unwrap()), "").unwrap();
    let booted = store.boot("", Recorder::new()).unwrap();
    assert_eq!(booted.report.generation.get(), 2);
    assert_eq!(booted.report.failed[0].id.get(), 3);
    let problem = &booted.report.problems[0];
    assert!(problem.ends_with("boot/tries/3 holds no number of attempts"), "{problem}");
}
