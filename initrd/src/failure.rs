//! What is shown and done when nothing can be started: the screen is a pure function, the end is one system call.

#![expect(clippy::disallowed_methods, reason = "looks for the shell of the initramfs")]

use std::{env, ffi::CString, fmt::Write, io, os::unix::ffi::OsStringExt, path::Path};

use layers::{cmdline::OnFail, report::FailedCandidate};
use nix::{
    sys::reboot::{RebootMode, reboot},
    unistd::{chdir, pause, sync},
};

use crate::child::{Child, Streams};

/// The shell's place in the initramfs.
pub const SHELL: &str = "/bin/sh";

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// What kept the boot from looking for generations at all, if that is what happened.
    pub problem: Option<String>,
    /// The state file system, where it was found: its device, type and label in one line.
    pub state: Option<String>,
    /// The generations that were tried, in order.
    pub candidates: Vec<FailedCandidate>,
}

/// What is done after the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The screen stays until somebody restarts the machine.
    Wait,
    /// As [`Self::Wait`], though a shell was asked for: the initramfs holds none.
    WaitWithoutShell,
    /// The machine restarts.
    Reboot,
    /// The machine is switched off.
    Poweroff,
    /// A shell; the machine restarts when it is left.
    Shell,
}

impl Ending {
    /// What `layers.onfail=` asks for, as far as the initramfs can: `has_shell` says whether it was built with one.
    pub fn of(onfail: OnFail, has_shell: bool) -> Self {
        match onfail {
            OnFail::Fallback => Self::Wait,
            OnFail::Reboot => Self::Reboot,
            OnFail::Poweroff => Self::Poweroff,
            OnFail::Shell if has_shell => Self::Shell,
            OnFail::Shell => Self::WaitWithoutShell,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Wait => {
                "Restart with Ctrl-Alt-Del, or switch the machine off: nothing is being written."
            }
            Self::WaitWithoutShell => {
                "layers.onfail=shell: this initrd was built without a shell (layerctl initrd --shell FILE).\n\
                 Restart with Ctrl-Alt-Del, or switch the machine off: nothing is being written."
            }
            Self::Reboot => "layers.onfail=reboot: restarting now.",
            Self::Poweroff => "layers.onfail=poweroff: switching off now.",
            Self::Shell => "layers.onfail=shell: a shell follows; leave it with exit to restart.",
        }
    }
}

/// Renders the screen: what failed, what is unharmed, what to type. Lines end with `\n`, the last one too.
pub fn screen(failure: &Failure, ending: Ending) -> String {
    let mut text = String::from("\n--- layers: nothing could be started ---\n\n");
    if let Some(problem) = &failure.problem {
        paragraph(&mut text, "", problem);
    }
    if let Some(state) = &failure.state {
        let _ = writeln!(text, "State file system: {}", clean(state));
    }
    if !failure.candidates.is_empty() {
        text.push_str("Generations tried:\n");
    }
    for FailedCandidate { id, why } in &failure.candidates {
        let _ = writeln!(text, "  generation {id}:");
        paragraph(&mut text, "    ", why);
    }
    if failure.candidates.is_empty() {
        text.push_str("No generation was tried.\n");
    }
    text.push_str(
        "\nUnharmed: every image and every generation. Starting up never writes to them.\n\
         \n\
         What to do: at the boot loader's menu press e and add to the line of the kernel\n",
    );
    for (key, meaning) in advice(failure) {
        let _ = writeln!(text, "  {key:<25}{meaning}");
    }
    let _ = writeln!(text, "\n{}", ending.sentence());
    text
}

/// The command-line keys that can help against this failure.
fn advice(failure: &Failure) -> Vec<(&'static str, &'static str)> {
    if failure.state.is_none() {
        return vec![
            (
                "layers.state=UUID=...",
                "or LABEL=, PARTUUID=, PARTLABEL=, /dev/...: where the state is",
            ),
            ("layers.timeout=120", "to wait longer for a slow disk (seconds)"),
            ("layers.onfail=reboot", "or poweroff, shell: what to do when this happens again"),
        ];
    }
    vec![
        ("layers.generation=NUMBER", "to start this generation, or previous"),
        ("layers.set=none", "to start the base alone, without layers"),
        ("layers.skip=NAME,...", "to leave out these layers"),
        ("layers.ephemeral", "to start without the files in /etc, /var and /home"),
        ("layers.onfail=reboot", "or poweroff, shell: what to do when this happens again"),
    ]
}

fn paragraph(text: &mut String, indent: &str, reason: &str) {
    for line in reason.lines() {
        let _ = writeln!(text, "{indent}{}", clean(line));
    }
}

// A label or a file name must not steer the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// Whether the initramfs was built with a shell.
pub fn has_shell() -> bool {
    Path::new(SHELL).exists()
}

/// Does what the screen has announced. PID 1 must not end, so this never returns.
pub fn end(ending: Ending) -> ! {
    sync();
    match ending {
        Ending::Wait | Ending::WaitWithoutShell => {}
        Ending::Reboot => restart(RebootMode::RB_AUTOBOOT),
        Ending::Poweroff => restart(RebootMode::RB_POWER_OFF),
        Ending::Shell => match run_shell() {
            Ok(()) => restart(RebootMode::RB_AUTOBOOT),
            Err(error) => log::error!("cannot start {SHELL}: {error}"),
        },
    }
    loop {
        pause();
    }
}

/// Writes out what is not on disks yet and calls reboot(2); comes back, with a line in the log, where the kernel refuses.
pub(crate) fn restart(how: RebootMode) {
    sync();
    let Err(error) = reboot(how);
    log::error!("the kernel does not restart or switch off: {error}");
}

/// The shell has the environment that the kernel gave to PID 1.
fn run_shell() -> io::Result<()> {
    let mut environment = Vec::new();
    for (name, value) in env::vars_os() {
        environment.push(CString::new([name.into_vec(), value.into_vec()].join(&b'='))?);
    }
    chdir("/")?;
    Child::start(Path::new(SHELL), &[], &environment, Streams::Own)?.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, why: &str) -> FailedCandidate {
        FailedCandidate { id: id.parse().unwrap(), why: why.into() }
    }

    #[test]
    fn the_screen_of_candidates_that_all_failed() {
        let failure = Failure {
            problem: None,
            state: Some("/dev/vda2: ext4, LABEL=layers".into()),
            candidates: vec![
                candidate("12", "layer htop is missing from the store, and layer top needs it"),
                candidate("11", "generation.toml does not parse:\nline 3: \u{1b}[31m"),
            ],
        };
        assert_eq!(
            screen(&failure, Ending::Wait),
            "\n--- layers: nothing could be started ---\n\n\
             State file system: /dev/vda2: ext4, LABEL=layers\n\
             Generations tried:\n\
             \x20 generation 12:\n\
             \x20   layer htop is missing from the store, and layer top needs it\n\
             \x20 generation 11:\n\
             \x20   generation.toml does not parse:\n\
             \x20   line 3: ?[31m\n\
             \n\
             Unharmed: every image and every generation. Starting up never writes to them.\n\
             \n\
             What to do: at the boot loader's menu press e and add to the line of the kernel\n\
             \x20 layers.generation=NUMBER to start this generation, or previous\n\
             \x20 layers.set=none          to start the base alone, without layers\n\
             \x20 layers.skip=NAME,...     to leave out these layers\n\
             \x20 layers.ephemeral         to start without the files in /etc, /var and /home\n\
             \x20 layers.onfail=reboot     or poweroff, shell: what to do when this happens again\n\
             \n\
             Restart with Ctrl-Alt-Del, or switch the machine off: nothing is being written.\n"
        );
    }

    #[test]
    fn the_screen_of_a_missing_disk_tells_how_to_name_it() {
        let problem =
            "no block device is LABEL=x after 30 s; block devices:\n  /dev/vda: ext4, LABEL=y";
        let failure = Failure { problem: Some(problem.into()), ..Failure::default() };
        let text = screen(&failure, Ending::Reboot);
        for expected in [
            "no block device is LABEL=x after 30 s; block devices:\n  /dev/vda: ext4, LABEL=y\n",
            "No generation was tried.\n",
            "  layers.state=UUID=...    or LABEL=",
            "  layers.timeout=120       to wait",
            "\nlayers.onfail=reboot: restarting now.\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
        assert!(!text.contains("layers.generation"), "{text}");
    }

    #[test]
    fn the_ending_is_what_was_asked_for_as_far_as_it_can_be() {
        for (onfail, has_shell, expected) in [
            (OnFail::Fallback, true, Ending::Wait),
            (OnFail::Reboot, false, Ending::Reboot),
            (OnFail::Poweroff, false, Ending::Poweroff),
            (OnFail::Shell, true, Ending::Shell),
            (OnFail::Shell, false, Ending::WaitWithoutShell),
        ] {
            assert_eq!(Ending::of(onfail, has_shell), expected, "{onfail:?} {has_shell}");
            assert!(
                screen(&Failure::default(), expected)
                    .ends_with(&format!("\n{}\n", expected.sentence()))
            );
        }
    }
}
