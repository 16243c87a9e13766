//! Tells a fault of the kernel itself, before it starts init, from everything that the project is answerable for.

/// The kernel's first line, when the command line has no `quiet`.
const KERNEL_STARTS: &str = "Linux version ";

/// What init says first of all; from here on a fault may be the project's doing.
const INIT_RUNS: &str = "layers-init: ";

/// How the kernel begins the report of a fault.
const FAULTS: [&str; 3] = ["Oops: ", "BUG: ", "Kernel panic - "];

/// The line with which the kernel reports a fault in the newest boot on this console, if init has said nothing in that boot.
///
/// Without the kernel's first line nothing can be told, so `quiet` machines have no early faults.
pub(super) fn fault(said: &str) -> Option<&str> {
    let boot = said.get(said.rfind(KERNEL_STARTS)?..)?;
    let before_init = boot.split(INIT_RUNS).next().unwrap_or(boot);
    // A line that is still coming might be one of init's.
    let whole = before_init.rfind('\n').and_then(|end| before_init.get(..end)).unwrap_or_default();
    whole.lines().find(|line| FAULTS.iter().any(|fault| line.contains(fault)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_before_init_in_the_newest_boot_counts() {
        let start = "[    0.000000] Linux version 6.12\n";
        let oops = "[    1.2] Oops: general protection fault\n";
        let init = "[    2.0] layers-init: first mounts\n";
        let found = oops.trim_end();
        for (said, expected) in [
            (String::new(), None),
            (start.to_owned(), None),
            ([start, oops].concat(), Some(found)),
            ([start, oops, init].concat(), Some(found)),
            ([start, init, oops].concat(), None),
            ([start, oops, start, init].concat(), None),
            ([start, init, start, oops].concat(), Some(found)),
            (oops.to_owned(), None),
            ([start, oops.trim_end()].concat(), None),
        ] {
            assert_eq!(fault(&said), expected, "{said}");
        }
    }
}
