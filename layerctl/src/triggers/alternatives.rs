//! Choices of update-alternatives(1) of a stack: the program is told of what the layers add and what they take away. Pure.
//!
//! ```toml
//! [[alternative]]
//! name = "editor"
//! link = "/usr/bin/editor"
//! [[alternative.choices]]
//! path = "/usr/bin/vim.tiny"
//! priority = 15
//! slaves = [{ name = "editor.1.gz", link = "/usr/share/man/man1/editor.1.gz", path = "/usr/share/man/man1/vim.1.gz" }]
//! ```

use std::path::Path;

use serde::Deserialize;

/// What a layer adds.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fragment {
    #[serde(default, rename = "alternative")]
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Deserialize)]
struct Alternative {
    name: String,
    link: String,
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    path: String,
    priority: i64,
    #[serde(default)]
    slaves: Vec<Slave>,
}

#[derive(Debug, Deserialize)]
struct Slave {
    name: String,
    link: String,
    path: String,
}

impl Fragment {
    /// Reads a fragment's text.
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The arguments of update-alternatives, once for each choice.
    pub(super) fn installs(&self) -> Vec<Vec<String>> {
        let all =
            self.alternatives.iter().flat_map(|it| it.choices.iter().map(move |one| (it, one)));
        all.map(|(alternative, choice)| {
            let Alternative { link, name, .. } = alternative;
            let priority = choice.priority.to_string();
            let mut args =
                ["--install", link, name, &choice.path, &priority].map(str::to_owned).to_vec();
            for Slave { name, link, path } in &choice.slaves {
                args.extend(["--slave", link, name, path].map(str::to_owned));
            }
            args
        })
        .collect()
    }

    /// The links that belong to the choices, wherever they are: made where they are missing.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        self.alternatives.iter().flat_map(|alternative| {
            let slaves = alternative.choices.iter().flat_map(|choice| &choice.slaves);
            std::iter::once(alternative.link.as_str())
                .chain(slaves.map(|slave| slave.link.as_str()))
        })
    }
}

/// The arguments that take a choice away whose file is gone. `state` is dpkg's file about the alternative `name`: a line that
/// says whether it is chosen by hand, the link, name and link of each slave, an empty line, then path, priority and one path
/// for each slave, which may be empty, of every choice, and an empty line (dpkg 1.22).
pub(super) fn removals(
    name: &str,
    state: &str,
    is_gone: &dyn Fn(&Path) -> bool,
) -> Vec<Vec<String>> {
    let mut lines = state.lines();
    let slaves = lines.by_ref().skip(2).take_while(|line| !line.is_empty()).count() / 2;
    let choices: Vec<&str> = lines.collect();
    let paths = choices.chunks(slaves + 2).filter_map(|choice| choice.first());
    let paths = paths.take_while(|path| path.starts_with('/'));
    let gone = paths.filter(|path| is_gone(Path::new(path)));
    gone.map(|path| ["--remove", name, path].map(str::to_owned).to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_is_installed_with_its_slaves() {
        let document = include_str!("alternatives.rs");
        let text: String = document
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.trim_start_matches("//! ")))
            .collect();
        let fragment = Fragment::parse(&text).unwrap();
        let manual = "/usr/share/man/man1/";
        assert_eq!(
            fragment.installs(),
            [[
                "--install",
                "/usr/bin/editor",
                "editor",
                "/usr/bin/vim.tiny",
                "15",
                "--slave",
                &format!("{manual}editor.1.gz"),
                "editor.1.gz",
                &format!("{manual}vim.1.gz"),
            ]]
        );
        let links: Vec<&str> = fragment.links().collect();
        assert_eq!(links, ["/usr/bin/editor", &format!("{manual}editor.1.gz")]);
        assert!(Fragment::parse("").unwrap().installs().is_empty());
        assert!(Fragment::parse("[[alternative]]\nname = 1\n").is_err());
    }

    #[test]
    fn a_choice_without_its_file_is_taken_away() {
        let state = "auto\n/usr/bin/awk\nawk.1.gz\n/m/awk.1.gz\nnawk\n/usr/bin/nawk\n\n\
            /usr/bin/gawk\n10\n\n\n/usr/bin/mawk\n5\n/m/mawk.1.gz\n/usr/bin/mawk\n\n";
        let gone = |path: &Path| path == Path::new("/usr/bin/mawk");
        assert_eq!(removals("awk", state, &gone), [["--remove", "awk", "/usr/bin/mawk"]]);
        assert!(removals("awk", state, &|_| false).is_empty());
        for text in ["", "auto", "auto\n/l\n", "auto\n/l\n\n/p", "\n\n\n\n"] {
            assert!(removals("x", text, &|_| true).len() < 2, "{text}");
        }
    }
}
