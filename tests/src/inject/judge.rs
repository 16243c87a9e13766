//! What a run may end like, and what it may leave: the rules, apart from the runs.

use super::fault::{Fault, Victim};
use super::seen::Seen;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// Not within the deadline.
    Never,
}

/// What a run did and said.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    /// How it ended.
    pub(super) end: End,
    /// What it wrote on standard error.
    pub(super) stderr: String,
}

/// The parts of a store that a boot looks at.
const BOOTS: [&str; 2] = ["default", "next"];

/// What is wrong with how a run ended, if anything is.
pub(super) fn ended(ran: &Ran, victim: Victim, fault: Fault) -> Option<String> {
    if ran.stderr.contains("panicked at") {
        return Some("it panicked".to_owned());
    }
    let killed = victim == Victim::Layerctl && fault == Fault::Kill;
    match ran.end {
        End::Never => Some("it hangs".to_owned()),
        End::Signal(9) if killed => None,
        End::Signal(signal) => Some(format!("it was ended by signal {signal}")),
        End::Exit(0) => None,
        End::Exit(1) => {
            let errors = ran.stderr.lines().filter_map(|line| line.strip_prefix("error: "));
            match errors.collect::<Vec<_>>().as_slice() {
                [error] if error.len() > 10 => None,
                errors => Some(format!("it said {} errors", errors.len())),
            }
        }
        End::Exit(status) => Some(format!("it ended with status {status}")),
    }
}

/// What is wrong with what is seen after a run, if anything is. `at_once`: it is all old or all new.
pub(super) fn left(
    ran: &Ran,
    seen: &Seen,
    (old, new): (&Seen, &Seen),
    at_once: bool,
) -> Option<String> {
    let neither = match at_once {
        true => seen != old && seen != new,
        false => {
            let mut parts = [old, new, seen].into_iter().flat_map(|it| it.0.keys());
            !parts.all(|part| [old, new].iter().any(|it| it.0.get(part) == seen.0.get(part)))
        }
    };
    if neither {
        return Some(format!("neither old nor new: {}", seen.difference(new)));
    }
    let says = |text: &str| ran.stderr.contains(text);
    let boots = |other: &Seen| BOOTS.iter().all(|part| seen.0.get(*part) == other.0.get(*part));
    match ran.end {
        End::Exit(0) if seen != new => {
            Some(format!("it ended well, but: {}", seen.difference(new)))
        }
        End::Exit(1) if says("nothing was changed") && seen != old => {
            Some(format!("it says that nothing was changed, but: {}", seen.difference(old)))
        }
        End::Exit(1) if says("what boots next is unchanged") && !boots(old) => {
            Some(format!("it says that what boots is unchanged, but: {}", seen.difference(old)))
        }
        End::Exit(1)
            if says("what boots by default is unchanged")
                && seen.0.get("default") != old.0.get("default") =>
        {
            Some(format!("it says that the default is unchanged, but: {}", seen.difference(old)))
        }
        End::Exit(1) if says("the change is made") && seen != new => {
            Some(format!("it says that the change is made, but: {}", seen.difference(new)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(end: End, stderr: &str) -> Ran {
        Ran { end, stderr: stderr.to_owned() }
    }

    fn seen(parts: &[(&str, &str)]) -> Seen {
        Seen(parts.iter().map(|(part, text)| ((*part).to_owned(), (*text).to_owned())).collect())
    }

    const ERROR: &str = "error: read /x: Input/output error\nnothing was changed\n";

    #[test]
    fn runs_end_with_a_status_and_one_error() {
        let layerctl = Victim::Layerctl;
        let wrong = |end, stderr, fault| ended(&ran(end, stderr), layerctl, fault).is_some();
        assert!(!wrong(End::Exit(0), "", Fault::Io));
        assert!(!wrong(End::Exit(1), ERROR, Fault::Io));
        assert!(!wrong(End::Signal(9), "", Fault::Kill));
        assert!(wrong(End::Exit(1), "", Fault::Io));
        assert!(wrong(End::Exit(1), "error: a long one\nerror: another one\n", Fault::Io));
        assert!(wrong(End::Exit(101), "thread 'main' panicked at x.rs", Fault::Io));
        assert!(wrong(End::Exit(0), "thread 'ticker' panicked at x.rs", Fault::Io));
        assert!(wrong(End::Signal(9), "", Fault::Io));
        assert!(wrong(End::Signal(6), "", Fault::Kill));
        assert!(wrong(End::Never, "", Fault::NoSpace));
        let program = ran(End::Signal(9), "");
        assert!(ended(&program, Victim::Program("tar"), Fault::Kill).is_some());
    }

    #[test]
    fn what_is_left_is_old_or_new_and_as_it_was_said() {
        let (old, new) =
            (seen(&[("default", "1"), ("a", "1")]), seen(&[("default", "2"), ("a", "2")]));
        let mixed = seen(&[("default", "1"), ("a", "2")]);
        let torn = seen(&[("default", "1"), ("a", "3")]);
        let wrong = |end, stderr, seen: &Seen, at_once| {
            left(&ran(end, stderr), seen, (&old, &new), at_once).is_some()
        };
        assert!(!wrong(End::Exit(0), "", &new, true));
        assert!(wrong(End::Exit(0), "", &old, true));
        assert!(!wrong(End::Exit(1), ERROR, &old, true));
        assert!(wrong(End::Exit(1), ERROR, &new, true));
        assert!(wrong(End::Signal(9), "", &mixed, true));
        assert!(!wrong(End::Signal(9), "", &mixed, false));
        assert!(wrong(End::Exit(0), "", &mixed, false));
        assert!(wrong(End::Signal(9), "", &torn, false));
        assert!(!wrong(End::Exit(1), "what boots next is unchanged", &mixed, false));
        assert!(wrong(End::Exit(1), "what boots next is unchanged", &new, true));
        assert!(wrong(End::Exit(1), "the change is made", &old, true));
    }
}
