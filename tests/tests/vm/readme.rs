//! Every command in README.md, as it stands there.

use crate::state::{BOOT, SYSTEMD, State, report};
use serde_json::Value;
use tests::artefacts::Artefacts;
use tests::base::{Builder, Tree};
use tests::failure::Failure;
use tests::files;
use tests::packages::unpack;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem, Guest, Machine, QUICK_SYSTEMD, make_disk};
use tests::workspace::Workspace;

const README: &str = include_str!("../../../README.md");

const PROMPT: &str = "root@layers:~# ";

/// The fenced blocks with one of these languages, as (language, text).
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    // Odd parts are inside a fence: the language, a line feed, the text.
    for part in README.split("```").skip(1).step_by(2) {
        let (language, text) = part.split_once('\n').unwrap();
        assert!(["sh", "console", "text"].contains(&language), "{language:?} is no language here");
        if language != "text" {
            found.push((language, text));
        }
    }
    found
}

fn block(language: &str, start: &str) -> &'static str {
    let found: Vec<_> = blocks()
        .into_iter()
        .filter(|(l, text)| *l == language && text.starts_with(start))
        .collect();
    assert_eq!(found.len(), 1, "one block of {language} starts with {start:?}");
    found[0].1
}

#[test]
fn every_block_of_commands_is_known_to_a_test() {
    let known = [
        block("sh", "cargo xtask try"),
        block("console", "# layerctl status"),
        block("sh", "mkfs.ext4"),
    ];
    assert!(blocks().iter().all(|(_, text)| known.contains(text)), "{:?}", blocks());
    // One is run by the test below, the other one runs this.
    let commands = known[0].lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    assert_eq!(commands.collect::<Vec<_>>(), ["cargo xtask try", "cargo xtask test"]);
}

/// What somebody at the console of `cargo xtask try` sees and types.
struct Terminal {
    guest: Guest,
}

impl Terminal {
    fn log_in(&mut self) -> Result<(), Failure> {
        self.guest.wait_for("(automatic login)", SYSTEMD)?;
        self.guest.wait_for(PROMPT, SYSTEMD)?;
        // Kernel messages would break into the output.
        self.run("dmesg -n 1")?;
        Ok(())
    }

    /// Types a command; returns what follows its echo, up to the next prompt.
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        self.guest.type_in(&format!("{command}\n"))?;
        let text = self.guest.wait_for(PROMPT, SYSTEMD)?;
        let text = text.strip_suffix(PROMPT).unwrap_or(&text);
        Ok(text.split_once('\n').map_or(text, |(_, output)| output).to_owned())
    }

    fn status(&mut self) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.run("layerctl status --json")?)?)
    }

    /// The system is up, whole, and the generation that it should be.
    fn is_well(&mut self, generation: u64) -> Result<(), Failure> {
        assert_eq!(self.run("systemctl is-system-running --wait")?, "running\n");
        assert_eq!(self.run("systemctl --failed --no-legend")?, "");
        let status = self.status()?;
        assert_eq!(status["schema"], 1);
        assert_eq!(
            (&status["booted"], &status["default"]),
            (&generation.into(), &generation.into())
        );
        assert_eq!(status["boot"]["problems"], Value::Array(Vec::new()));
        Ok(())
    }

    fn reboot(&mut self) -> Result<(), Failure> {
        self.guest.type_in("reboot\n")?;
        self.log_in()
    }
}

/// Starts `cargo xtask try` with a disk of its own.
fn start_try(state: &State) -> Result<Terminal, Failure> {
    let mut command = process::command(env!("CARGO_BIN_EXE_xtask"));
    command.args(["try", "--fresh", "--state"]).arg(state.beside("try.img"));
    // Tests have no terminal, and an emulated machine is slow.
    command.arg("--").args(QUICK_SYSTEMD).arg("loglevel=7");
    Ok(Terminal { guest: Guest::start("readme-try", &mut command)? })
}

#[test]
fn the_newcomer_installs_reboots_and_rolls_back() -> Result<(), Failure> {
    let place = State::empty("readme-try")?;
    let mut terminal = start_try(&place)?;
    terminal.guest.wait_for("Ctrl-A X, ends the machine", SYSTEMD)?;
    terminal.log_in()?;
    let mut boots = [1, 2, 1].into_iter();
    terminal.is_well(boots.next().unwrap())?;

    let mut lines = block("console", "# ").lines().peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("# ").unwrap();
        if command == "reboot" {
            terminal.reboot()?;
            terminal.is_well(boots.next().unwrap())?;
            continue;
        }
        let output = terminal.run(command)?;
        let mut silent = true;
        while let Some(expected) = lines.next_if(|line| !line.starts_with("# ")) {
            silent = false;
            assert!(output.lines().any(|line| line == expected), "{command}: {output}");
        }
        // What README shows no output of is what works.
        let status = terminal.run("echo $?")?;
        assert!(!silent || status == "0\n", "{command}: {output}");
    }
    assert_eq!(boots.next(), None, "README reboots twice");
    uninstall_and_switch_off(terminal)
}

/// What README tells in its table of commands: an uninstallation is a generation of its own.
fn uninstall_and_switch_off(mut terminal: Terminal) -> Result<(), Failure> {
    terminal.run("layerctl rollback 2")?;
    terminal.run("layerctl uninstall htop")?;
    let status = terminal.status()?;
    assert_eq!((&status["booted"], &status["default"]), (&1.into(), &3.into()));
    terminal.reboot()?;
    terminal.is_well(3)?;
    let status = terminal.status()?;
    let newest = &status["generations"][0];
    assert_eq!((&newest["id"], &newest["parent"]), (&3.into(), &2.into()));
    assert_eq!(newest["layers"], Value::Array(Vec::new()));
    assert!(terminal.run("htop --version")?.contains("command not found"));
    terminal.guest.type_in("systemctl poweroff\n")?;
    Ok(terminal.guest.wait_for_exit(SYSTEMD)?)
}

/// Runs the block in a guest that has a blank disk /dev/vdb, a Debian image and a tree in the working directory, and a layer
/// with mkfs.erofs; then boots another machine from that disk with that initramfs.
#[test]
fn a_disk_is_made_from_nothing_and_boots() -> Result<(), Failure> {
    let state = State::new("readme-disk")?;
    install_mkfs_erofs(&state)?;
    let disk = state.disk(Filesystem::Ext4)?;
    let blank = state.beside("blank.img");
    files::make_sparse(&blank, 512 << 20)?;
    let work = work_disk(&state)?;

    let mut guest = state
        .machine(Drive::scratch(&disk))
        .drive(Drive::writable(&blank))
        .drive(Drive::writable(&work))
        .append("layers.state=/dev/vda init=/bin/sh")
        .start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.set_deadline(SYSTEMD);
    shell.check("mount /dev/vdc /layers && cd /layers")?;
    for command in block("sh", "mkfs.ext4").lines() {
        shell.check(command)?;
    }
    shell.check("umount /mnt && cd / && umount /layers")?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let initrd = state.beside("layers.initrd");
    let debugfs = find_program("debugfs").unwrap_or_else(|| "debugfs".into());
    let request = format!("dump layers.initrd {}", initrd.display());
    process::run(process::command(debugfs).args(["-R", &request]).arg(&work))?;
    let mut guest = Machine::new("readme-disk-made", &state.artefacts().kernel, &initrd)
        .drive(Drive::scratch(&blank))
        .append("init=/bin/sh")
        .start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.check("cat /usr/share/hello")?, "hello");
    let report = report(&mut shell)?;
    assert_eq!(report.generation.to_string(), "2");
    assert_eq!(report.problems, [""; 0]);
    Ok(())
}

/// The base has no mkfs.erofs, which `layerctl build` needs: Debian's own comes as a layer.
fn install_mkfs_erofs(state: &State) -> Result<(), Failure> {
    let workspace = Workspace::here();
    let base = Tree::build(&workspace, Builder::Mmdebstrap)?;
    let unpacked = unpack(&workspace, &base, &["erofs-utils"])?;
    let image = state.beside("erofs-utils_1.img");
    let mut build = process::command(&state.artefacts().layerctl);
    build.arg("build").arg(&unpacked[0].tree).args([
        "--name",
        "erofs-utils",
        "--version",
        "1",
        "-o",
    ]);
    process::run(build.arg(&image))?;
    state.layerctl(&["install", &image.display().to_string()]).map(drop)
}

/// A disk with the files that the block speaks of.
fn work_disk(state: &State) -> Result<std::path::PathBuf, Failure> {
    let Artefacts { base, .. } = state.artefacts();
    let from = state.beside("work");
    files::make_dir(&from.join("tree/usr/share"))?;
    files::write(&from.join("tree/usr/share/hello"), "hello\n")?;
    files::copy(base, &from.join("debian.squashfs"))?;
    let image = state.beside("work.img");
    make_disk(Filesystem::Ext4, "work", 256, &from, &image)?;
    Ok(image)
}
