//! `layerctl reset`: asks the next boot to empty uppers, once; and takes the request back.

use super::{Decision, Refusal, Request, State, log};
use crate::generation::Generation;
use crate::layout::Layout;
use crate::plan::Op;
use crate::policy::{Dir, Mode, is_plain};
use crate::reset::Reset;

impl State {
    /// The generation that the next boot takes: the one to try once, else the default one.
    pub fn next_boot(&self) -> Result<&Generation, Refusal> {
        self.pointers.next.map_or_else(|| self.start(), |id| self.readable(id))
    }
}

/// Decides how the next boot is asked to empty what `asked` names; `pending` is what it was asked for before, where that
/// can be understood.
pub fn reset(
    state: &State,
    layout: &Layout,
    asked: &Reset,
    pending: Option<&Result<Reset, String>>,
    request: &Request,
) -> Result<Decision, Refusal> {
    let generation = state.next_boot()?;
    refused_reset(generation, asked).map_or(Ok(()), Err)?;
    if let Some(Ok(pending)) = pending
        && pending == asked
    {
        let what = format!("the next boot empties {} already", names(&asked.dirs));
        return Ok(Decision::unchanged(what));
    }
    let mut summary = Vec::new();
    if let Some(Ok(pending)) = pending {
        summary.push(format!("in place of the request to empty {}", names(&pending.dirs)));
    }
    summary.push(format!(
        "the next boot empties {}; to take that back: layerctl reset --cancel",
        names(&asked.dirs)
    ));
    let write = Op::WriteFile { path: layout.reset(), text: asked.to_string() };
    Ok(Decision::of(vec![write, log(layout, request, generation.id)], summary))
}

/// Decides how the request of the next boot is taken back; `pending` as for [`reset`].
pub fn cancel_reset(
    state: &State,
    layout: &Layout,
    pending: Option<&Result<Reset, String>>,
    request: &Request,
) -> Result<Decision, Refusal> {
    if pending.is_none() {
        return Ok(Decision::unchanged("the next boot is asked to empty nothing".to_owned()));
    }
    let generation = state.next_boot()?;
    let remove = Op::Remove { path: layout.reset() };
    let ops = vec![remove, log(layout, request, generation.id)];
    Ok(Decision::of(ops, vec!["the next boot empties nothing".to_owned()]))
}

/// Why a request cannot be made of a generation, if so.
pub fn refused_reset(generation: &Generation, asked: &Reset) -> Option<Refusal> {
    let kept = asked.keep.iter().find_map(|path| refused_path(path, asked));
    let mode = |dir: &Dir| generation.writable.mode(*dir);
    let transient = asked.dirs.iter().find(|dir| mode(dir) != Mode::Persistent);
    let transient = transient.map(|dir| {
        let what = format!("/{dir} is {} in generation {}", mode(dir), generation.id);
        match mode(dir) {
            Mode::Ephemeral => {
                let hint = format!(
                    "it is empty at each boot; leave --{dir} out, and name the others: layerctl reset --help"
                );
                Refusal::new(format!("{what}: there is nothing of it to empty"), hint)
            }
            _ => Refusal::new(
                format!("{what}: its upper is only read"),
                "make it persistent in the policy first: layerctl policy",
            ),
        }
    });
    kept.or(transient)
}

fn refused_path(path: &str, asked: &Reset) -> Option<Refusal> {
    if !is_plain(path) {
        return Some(Refusal::new(
            format!("{path:?} is no absolute path of names, so it cannot be kept"),
            "name it from the root on: --keep /etc/ssh/ssh_host_*",
        ));
    }
    if path.trim_end_matches('*').contains('*') || path.ends_with("**") {
        return Some(Refusal::new(
            format!("{path} has a * that is not at its end"),
            "only the last name may end in *: --keep /etc/ssh/ssh_host_*",
        ));
    }
    let below = |dir: &Dir| {
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(dir.name()));
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    if asked.dirs.iter().any(below) {
        return None;
    }
    Some(Refusal::new(
        format!("{path} is not below {}, so there is nothing to keep it from", names(&asked.dirs)),
        "leave it out, or name its directory too: --etc, --var, --home",
    ))
}

/// `/etc, /var and /home`.
fn names(dirs: &[Dir]) -> String {
    let names: Vec<String> = dirs.iter().map(|dir| format!("/{dir}")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, dirs: &[Dir]) -> Option<String> {
        let asked = Reset { dirs: dirs.to_vec(), keep: vec![path.to_owned()] };
        refused_path(path, &asked).map(|refusal| refusal.what)
    }

    #[test]
    fn kept_paths_lie_in_what_is_emptied() {
        for path in ["/etc/a", "/etc/a/b*", "/etc/*", "/var/lib/x"] {
            assert_eq!(refused(path, &Dir::ALL), None, "{path}");
        }
        for path in [
            "",
            "/",
            "etc/a",
            "/etc",
            "/etc/",
            "/etc/../a",
            "/etcetera/a",
            "/opt/a",
            "/etc/a/*/b",
            "/etc/a**",
        ] {
            assert!(refused(path, &Dir::ALL).is_some(), "{path}");
        }
        assert!(
            refused("/var/lib/x", &[Dir::Etc])
                .unwrap()
                .ends_with("not below /etc, so there is nothing to keep it from")
        );
    }

    #[test]
    fn directories_are_named_as_people_do() {
        assert_eq!(names(&Dir::ALL), "/etc, /var and /home");
        assert_eq!(names(&[Dir::Etc, Dir::Home]), "/etc and /home");
        assert_eq!(names(&[Dir::Var]), "/var");
    }
}
