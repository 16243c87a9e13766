//! What the arguments of a build are. Pure.

use std::path::{Path, PathBuf};

use layers::plan::change::Refusal;

use super::Wanted;

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A directory or an archive.
    Tree(PathBuf),
    /// Packages.
    Packages(Wanted),
    /// What a recipe says.
    Recipe(PathBuf),
}

impl Input {
    /// Tells by the endings.
    pub(crate) fn of(paths: &[PathBuf], packages: &[String]) -> Result<Self, Refusal> {
        let ends = |path: &&PathBuf, ending: &str| {
            Path::new(path).extension().is_some_and(|it| it.eq_ignore_ascii_case(ending))
        };
        let count = |ending| paths.iter().filter(|path| ends(path, ending)).count();
        let (debs, rpms) = (count("deb"), count("rpm"));
        if (debs == paths.len() || rpms == paths.len())
            && !(paths.is_empty() && packages.is_empty())
        {
            return Ok(Self::Packages(Wanted {
                packages: packages.to_vec(),
                files: paths.to_vec(),
                remove: Vec::new(),
            }));
        }
        let mixed = || {
            Refusal::new(
                "an image is made of one directory, archive or recipe, or of packages of one kind",
                "build one after the other; a recipe takes packages and files: docs/build.md",
            )
        };
        match paths {
            [one] if packages.is_empty() && ends(&one, "toml") => Ok(Self::Recipe(one.clone())),
            [one] if packages.is_empty() => Ok(Self::Tree(one.clone())),
            _ => Err(mixed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell() {
        let of = |paths: &[&str], packages: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
            Input::of(&paths, &packages)
        };
        assert_eq!(of(&["x"], &[]), Ok(Input::Tree("x".into())));
        assert_eq!(of(&["x.toml"], &[]), Ok(Input::Recipe("x.toml".into())));
        assert!(matches!(of(&["a.deb", "b.deb"], &["c"]), Ok(Input::Packages(_))));
        assert!(matches!(of(&[], &["c"]), Ok(Input::Packages(_))));
        assert!(matches!(of(&["a.rpm"], &[]), Ok(Input::Packages(_))));
        for bad in [&["a.deb", "b.rpm"][..], &["x", "y"], &["x", "a.deb"], &[]] {
            assert!(of(bad, &[]).is_err(), "{bad:?}");
        }
        assert!(of(&["x"], &["c"]).is_err());
    }
}
