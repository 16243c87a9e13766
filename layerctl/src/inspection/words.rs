//! Findings in words.

use layers::overlap::{Finding, Image, Subject};
use layers::scrutiny::Check;

/// What was found, in one line; of the paths the first `listed`, or all.
pub(crate) fn told(stack: &[Image], finding: &Finding, listed: Option<usize>) -> String {
    let title = |place: usize| stack.get(place).map_or("an image", |image| image.title.as_str());
    let other = finding.other.map_or("another image", title);
    let count = finding.paths.len();
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let what = match finding.subject {
        Subject::Root => "has a root directory that locks users out of the whole system".to_owned(),
        Subject::Merge => format!("has directories that hide links of {other} into /usr"),
        Subject::Deletions => "deletes what is below it and does not declare it".to_owned(),
        Subject::Store => "has files where the store is".to_owned(),
        Subject::Check(Check::Systems) => "is for another system".to_owned(),
        Subject::Check(Check::Libraries) => "needs libraries that nothing brings".to_owned(),
        Subject::Check(Check::Conflicts) => {
            format!("and {other} bring different files of one path")
        }
        Subject::Check(Check::Kinds) => {
            format!("has files over directories, or directories over files, of {other}")
        }
        Subject::Check(Check::Shadowing) => format!("hides {files} of {other}"),
        Subject::Check(Check::Identity) => "brings an os-release of its own".to_owned(),
        Subject::Check(Check::Devices) => "has device nodes".to_owned(),
        Subject::Check(Check::Setuid) => {
            "has programs that run as their owner or group (setuid, setgid)".to_owned()
        }
        Subject::Check(Check::Capabilities) => "has programs with file capabilities".to_owned(),
        Subject::Check(Check::Directories) => {
            format!("gives directories of {other} another mode or owner")
        }
        Subject::Check(Check::Var) => format!("brings {files} in /var"),
    };
    let text = format!("{} {what}", title(finding.image));
    match listed.unwrap_or(count) {
        0 => text,
        shown => format!("{text}: {}", list(&finding.paths, shown)),
    }
}

/// The first `shown` of some paths, and how many more there are.
fn list(paths: &[String], shown: usize) -> String {
    let list = paths.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(shown) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

/// What to do about what is refused.
pub(crate) fn hint(subject: Subject) -> String {
    let why = match subject {
        Subject::Root => "chmod 755 the directory that the layer is made from, and build it again",
        Subject::Merge => "build the layer with these files below /usr",
        Subject::Deletions => {
            "build the layer without these marks, or with --deletes and their paths"
        }
        Subject::Store => "build the layer without these files",
        Subject::Check(Check::Conflicts) => {
            "take one of the layers away, or give it a set of its own: layerctl install --set SET"
        }
        Subject::Check(_) => "build the layer without them",
    };
    match subject {
        Subject::Check(check) => format!("{why}; to take it all the same: --allow {check}"),
        _ => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_paths_are_listed_and_the_others_counted() {
        let image = |title: &str| Image { title: title.into(), ..Image::default() };
        let stack = [image("base debian 13"), image("layer a 1")];
        let paths = ["/a", "/b", "/c"].map(str::to_owned).to_vec();
        let subject = Subject::Check(Check::Shadowing);
        let finding = Finding { subject, image: 1, other: Some(0), paths };
        assert_eq!(
            told(&stack, &finding, Some(2)),
            "layer a 1 hides 3 files of base debian 13: /a, /b and 1 more"
        );
        assert_eq!(told(&stack, &finding, Some(0)), "layer a 1 hides 3 files of base debian 13");
        assert!(told(&stack, &finding, None).ends_with("/a, /b, /c"));
    }
}
