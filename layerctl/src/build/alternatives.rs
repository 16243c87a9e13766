//! What a layer adds to the choices of update-alternatives(1), told by dpkg's files before and after. Pure.

use serde::Serialize;

/// The choices that a layer adds, as they are written into it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Fragment {
    #[serde(rename = "alternative")]
    pub(super) alternatives: Vec<Alternative>,
}

/// One name and what it may stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Alternative {
    name: String,
    link: String,
    choices: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Choice {
    path: String,
    priority: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slaves: Vec<Slave>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Slave {
    name: String,
    link: String,
    path: String,
}

impl Alternative {
    /// Reads dpkg's file about the alternative `name` (dpkg 1.22, utils/update-alternatives.c): `auto` or `manual`, the link,
    /// name and link of each slave, an empty line; path, priority and one path or empty line for each slave of every choice.
    pub(super) fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let link = lines.by_ref().nth(1)?.to_owned();
        let mut slaves = Vec::new();
        loop {
            match lines.next()? {
                "" => break,
                slave => slaves.push((slave.to_owned(), lines.next()?.to_owned())),
            }
        }
        let mut choices = Vec::new();
        while let Some(path) = lines.next().filter(|path| !path.is_empty()) {
            let priority = lines.next()?.parse().ok()?;
            let mut own = Vec::new();
            for (name, link) in &slaves {
                let path = lines.next()?.to_owned();
                if !path.is_empty() {
                    own.push(Slave { name: name.clone(), link: link.clone(), path });
                }
            }
            choices.push(Choice { path: path.to_owned(), priority, slaves: own });
        }
        Some(Self { name: name.to_owned(), link, choices })
    }

    /// What this has more than it was before; `None` where that is nothing.
    pub(super) fn added_to(mut self, before: Option<&Self>) -> Option<Self> {
        self.choices.retain(|choice| before.is_none_or(|before| !before.choices.contains(choice)));
        (!self.choices.is_empty()).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAWK: &str = "auto\n/usr/bin/awk\nawk.1.gz\n/m/awk.1.gz\nnawk\n/usr/bin/nawk\n\n\
        /usr/bin/gawk\n10\n/m/gawk.1.gz\n\n/usr/bin/mawk\n5\n/m/mawk.1.gz\n/usr/bin/mawk\n\n";
    const BEFORE: &str = "auto\n/usr/bin/awk\nawk.1.gz\n/m/awk.1.gz\nnawk\n/usr/bin/nawk\n\n\
        /usr/bin/mawk\n5\n/m/mawk.1.gz\n/usr/bin/mawk\n\n";

    #[test]
    fn what_is_added_is_a_choice_with_its_slaves() {
        let before = Alternative::parse("awk", BEFORE).unwrap();
        let after = Alternative::parse("awk", NAWK).unwrap();
        assert_eq!(after.clone().added_to(Some(&after)), None);
        let fragment = Fragment { alternatives: vec![after.added_to(Some(&before)).unwrap()] };
        assert_eq!(
            toml::to_string(&fragment).unwrap(),
            "[[alternative]]\nname = \"awk\"\nlink = \"/usr/bin/awk\"\n\n\
             [[alternative.choices]]\npath = \"/usr/bin/gawk\"\npriority = 10\n\n\
             [[alternative.choices.slaves]]\nname = \"awk.1.gz\"\nlink = \"/m/awk.1.gz\"\npath = \"/m/gawk.1.gz\"\n"
        );
    }

    #[test]
    fn a_file_that_is_cut_off_is_none() {
        for text in ["", "auto", "auto\n/l\nslave\n", "auto\n/l\n\n/p\n", "auto\n/l\n\n/p\nx\n"] {
            assert_eq!(Alternative::parse("x", text), None, "{text:?}");
        }
    }
}
