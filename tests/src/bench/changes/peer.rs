//! The programs that are compared, and what each of them is asked to do.

use super::cost::Change;

/// One of the programs.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its name in the report.
    pub(super) name: &'static str,
    /// The name of its disk.
    pub(super) disk: &'static str,
    /// The functions that its verbs are.
    pub(super) script: &'static str,
    /// Whether it can go back to what was before an installation without another one.
    rolls_back: bool,
}

const fn peer(
    name: &'static str,
    disk: &'static str,
    script: &'static str,
    rolls_back: bool,
) -> Peer {
    Peer { name, disk, script, rolls_back }
}

/// All of them, the project's own first and the limit second.
pub(super) const PEERS: [Peer; 6] = [
    peer("layerctl", "ours", include_str!("ours.sh"), true),
    peer("cp and sha256sum", "copy", include_str!("copy.sh"), false),
    peer("systemd-sysext", "sysext", include_str!("sysext.sh"), false),
    peer("ostree", "ostree", include_str!("ostree.sh"), true),
    peer("apt-get", "apt", include_str!("apt.sh"), false),
    peer("pacman", "pacman", include_str!("pacman.sh"), false),
];

/// What the scripts have in common.
const SHARED: &str = include_str!("peers.sh");

/// One step of what every peer does with a payload.
#[derive(Debug)]
pub(super) struct Step {
    /// The function of the scripts.
    pub(super) verb: &'static str,
    /// The change that it is; none for a step that only brings a state back.
    pub(super) change: Option<Change>,
}

/// From a disk without the payload to the same disk again.
pub(super) const STEPS: [Step; 5] = [
    Step { verb: "install", change: Some(Change::Install) },
    Step { verb: "rollback", change: Some(Change::Rollback) },
    Step { verb: "forward", change: None },
    Step { verb: "remove", change: Some(Change::Remove) },
    Step { verb: "reset", change: None },
];

impl Peer {
    /// Whether the peer has a verb.
    pub(super) fn has(&self, verb: &str) -> bool {
        self.rolls_back || !matches!(verb, "rollback" | "forward")
    }

    /// The whole text for `sh -c` that does a verb.
    pub(super) fn text(&self, verb: &str) -> String {
        format!("{SHARED}{}\n{verb}\n", self.script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn every_script_has_its_verbs() {
        for peer in &PEERS {
            for verb in STEPS.iter().map(|step| step.verb).filter(|verb| peer.has(verb)) {
                // `type` fails for a name that is neither a function nor a program.
                let text = peer.text(&format!("type {verb} | grep -q function"));
                let mut sh = process::command("sh");
                sh.args(["-euc", &text]).env("DISK", "/none").env("PATH", "/usr/bin:/bin");
                process::run(&mut sh).unwrap_or_else(|e| panic!("{}: {verb}: {e}", peer.name));
            }
        }
    }

    #[test]
    fn only_some_roll_back() {
        let names: Vec<_> =
            PEERS.iter().filter(|peer| peer.has("rollback")).map(|p| p.name).collect();
        assert_eq!(names, ["layerctl", "ostree"]);
    }
}
