//! Which triggers run, and over what. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::glob::{self, Glob};
use super::table::{Table, Trigger};

/// A trigger that runs.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// What it is.
    pub(super) trigger: &'a Trigger,
    /// The paths for each of which it runs, in their order; none where it runs once for all.
    pub(super) each: Option<BTreeSet<PathBuf>>,
}

/// The triggers for which a layer has something, in the order of the table. Paths begin with `/`.
pub(super) fn due<'a>(table: &'a Table, paths: &BTreeSet<PathBuf>) -> Vec<Run<'a>> {
    let runs = table.triggers().iter().filter_map(|trigger| {
        let mut found = paths.iter().filter(|path| glob::any(&trigger.when, path)).peekable();
        found.peek()?;
        let Some(each) = &trigger.each else { return Some(Run { trigger, each: None }) };
        let each: BTreeSet<PathBuf> = found.filter_map(|path| above(path, each)).collect();
        (!each.is_empty()).then_some(Run { trigger, each: Some(each) })
    });
    runs.collect()
}

/// What of a path a pattern means: the path itself, or a directory that it is in.
fn above(path: &Path, each: &Glob) -> Option<PathBuf> {
    let depth = each.depth()?;
    // The first component is the root.
    let start: PathBuf = path.components().take(depth + 1).collect();
    each.matches(&start).then_some(start)
}

impl Run<'_> {
    /// The arguments of each time that the program is run.
    pub(super) fn arguments(&self) -> Vec<Vec<String>> {
        let Some(each) = &self.each else { return vec![self.trigger.args.clone()] };
        let filled = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let fill = |argument: &String| {
                argument.replace("{path}", &path.to_string_lossy()).replace("{name}", &name)
            };
            self.trigger.args.iter().map(fill).collect()
        };
        each.iter().map(filled).collect()
    }
}

/// Whether programs of an image can run on this machine. Architectures are systemd's names.
pub(super) fn runs_here(image: &str, machine: &str) -> bool {
    image == machine
        || image == layers::manifest::ANY_ARCHITECTURE
        || (image, machine) == ("x86", "x86-64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_layer_brings_says_what_runs_and_over_what() {
        let table = Table::built_in().unwrap();
        let paths = [
            "/usr/lib/modules/6.1/updates/a.ko.xz",
            "/usr/lib/modules/6.1/updates/b.ko",
            "/usr/lib/modules/6.9/kernel/x/c.ko",
            "/usr/lib/x86_64-linux-gnu/liba.so.1",
            "/usr/lib/layerctl/layers/x/accounts",
        ];
        let paths = paths.into_iter().map(PathBuf::from).collect();
        let runs = due(&table, &paths);
        let names: Vec<&str> = runs.iter().map(|run| run.trigger.name.as_str()).collect();
        assert_eq!(names, ["accounts", "ldconfig", "depmod"]);
        assert_eq!(runs[1].arguments(), [["-i"]]);
        assert_eq!(runs[2].arguments(), [["6.1"], ["6.9"]]);
        assert!(
            due(&table, &BTreeSet::from(["/usr/bin/x".into(), "/usr/lib/modules/6.1".into()]))
                .is_empty()
        );
    }

    #[test]
    fn only_programs_of_this_machine_run() {
        assert!(
            runs_here("x86-64", "x86-64")
                && runs_here("any", "arm64")
                && runs_here("x86", "x86-64")
        );
        assert!(!runs_here("arm64", "x86-64") && !runs_here("x86-64", "x86"));
    }
}
