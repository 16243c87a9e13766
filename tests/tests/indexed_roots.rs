//! A root that is seen through its index shows what a plain stack of the same images shows: real layers on the real base.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: runs itself once more in a mount namespace, and ends with the first surprise"
)]

use layers::cmdline::BootRequest;
use layers::exec::execute;
use layers::generation::Generation;
use layers::host::LinuxHost;
use layers::id::GenerationId;
use layers::layout::{BootPaths, Layout};
use layers::plan::Plan;
use layers::plan::boot::plan_boot;
use layers::store::{facts, read};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tests::artefacts::Artefacts;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::workspace::Workspace;

/// Set for the child that runs in a mount namespace of its own: where the store is.
const PLACE: &str = "LAYERS_TEST_PLACE";

/// The layers, bottom first: services with accounts and units, libraries, programs, and one that replaces files of the base.
const LAYERS: [&str; 3] = ["avahi-daemon", "nginx", "json"];

/// A line for every name: kind, mode, owner, names, size (but of directories, which each file system counts in its own way),
/// times and links; then the bytes of all files, and which names belong to one file.
const LIST: &str = r#"
cd "$1"
find . -xdev \( -type d -printf '%P d %m %U %G %n %T@\n' \) -o -printf '%P %y %m %U %G %n %s %T@ %l\n' | LC_ALL=C sort
find . -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
find . -xdev ! -type d -links +1 -printf '%i %P\n' | LC_ALL=C sort -k2 |
    awk '{ if (!($1 in first)) first[$1] = $2; print $2, "is", first[$1] }'
find . -xdev -printf '%i\n' | sort | uniq | wc -l
"#;

#[test]
fn an_index_of_real_layers_shows_what_their_stack_shows() -> Result<(), Failure> {
    let name = "an_index_of_real_layers_shows_what_their_stack_shows";
    if let Some(place) = std::env::var_os(PLACE) {
        return compare(Path::new(&place));
    }
    let workspace = Workspace::here();
    let (artefacts, place) = (Artefacts::load(&workspace)?, TempDir::new_in(workspace.target())?);
    let state = place.path().join("run/state");
    files::make_dir(&place.path().join("run"))?;
    process::run(process::command("cp").arg("-a").arg(&artefacts.state).arg(&state))?;
    let layers = LAYERS.map(|name| artefacts.installed_layer(&workspace, name));
    let layers = layers.into_iter().collect::<Result<Vec<PathBuf>, _>>()?;
    let mut install = process::command(&artefacts.layerctl);
    process::run(install.arg("--root").arg(&state).arg("install").args(&layers))?;
    let mut child = Command::new("unshare");
    child.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    child.args([name, "--exact", "--nocapture"]).env(PLACE, place.path());
    let output = child.output()?;
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && said.concat().contains("1 passed"), "{}", said.concat());
    Ok(())
}

fn compare(place: &Path) -> Result<(), Failure> {
    let state = place.join("run/state");
    let newest: GenerationId = "2".parse().unwrap();
    let generation = read::generation(&Layout::new(&state), newest).unwrap();
    let [index] = generation.indexes.as_slice() else { panic!("{generation}") };
    assert_eq!(index.data.len(), 5, "the base, the layers, and what triggers made");
    let plain = Generation { indexes: Vec::new(), ..generation.clone() };
    let [indexed, plain] = [("indexed", &generation), ("plain", &plain)]
        .map(|(name, generation)| seen(place, name, generation));
    assert!(plain.lines().count() > 10_000, "{plain}");
    for (one, other) in plain.lines().zip(indexed.lines()) {
        assert_eq!(one, other, "first the plain stack, then the index");
    }
    assert_eq!(plain.lines().count(), indexed.lines().count());
    Ok(())
}

/// What is seen of a generation's root when init has mounted it.
fn seen(place: &Path, name: &str, generation: &Generation) -> String {
    // The store is where a boot has it; the mounts are this root's own.
    let (run, sysroot) = (place.join("run"), place.join(name));
    let paths = BootPaths { run, sysroot: sysroot.clone() };
    let layout = Layout::new(&paths.state());
    let mut facts = facts::store(&layout);
    facts::generation(&layout, generation, &mut facts).unwrap();
    let mut plan = plan_boot(&BootRequest::parse(""), generation, &facts, &paths).unwrap();
    assert_eq!(plan.problems, Vec::<String>::new());
    assert_eq!(plan.index.is_some(), name == "indexed");
    let root = plan.plan.ops.iter().position(|op| op.mount_point() == Some(&sysroot)).unwrap();
    let ops = plan.plan.ops.drain(..=root).collect();
    execute(&Plan { ops }, &mut LinuxHost::new()).unwrap();
    let mut list = process::command("sh");
    let said = process::read(list.args(["-euc", LIST, "sh"]).arg(&sysroot)).unwrap();
    // Everything below run/ but the state is a mount of this root.
    let mut unmount = process::command("sh");
    unmount.args([
        "-euc",
        "cd \"$1\"; umount \"$2\"; for at in run/base run/trigger run/index run/layer/*; do \
        if mountpoint -q \"$at\"; then umount \"$at\"; fi; done",
        "sh",
    ]);
    process::run(unmount.arg(place).arg(name)).unwrap();
    String::from_utf8(said).unwrap()
}
