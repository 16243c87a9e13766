//! Instructions of a command, counted by valgrind's callgrind: no clock, no cache, no other process comes in.

use super::GateError;
use super::scene::Scene;
use crate::files;
use crate::process;

/// Counts the instructions of each command, which may change the store.
pub(super) fn count(scene: &Scene, commands: &[&str]) -> Result<Vec<(String, u64)>, GateError> {
    commands.iter().map(|command| Ok(((*command).to_owned(), one(scene, command)?))).collect()
}

fn one(scene: &Scene, words: &str) -> Result<u64, GateError> {
    let log = scene.path("valgrind.log");
    let command = scene.command(words);
    let mut valgrind = process::command("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(format!("--log-file={}", log.display())).arg(command.get_program());
    valgrind.args(command.get_args());
    scene.settle(&mut valgrind);
    process::run(&mut valgrind)?;
    let said = files::read_text(&log)?;
    collected(&said).ok_or_else(|| GateError::NoCount { command: words.to_owned(), said })
}

/// The number in the line `==PID== Collected : NUMBER`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once(" Collected : ")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read() {
        let said = "==7== Command: x\n==7== Events    : Ir\n==7== Collected : 2172276\n";
        assert_eq!(collected(said), Some(2_172_276));
        assert_eq!(collected("==7== Collected : many\n"), None);
    }
}
