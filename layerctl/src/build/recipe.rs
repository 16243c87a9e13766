//! A recipe: in a file what a layer is to be. Text goes in, checked values come out.
//!
//! ```toml
//! name = "web"
//! version = "1.2"                          # the first package's without
//! packages = ["nginx", "curl"]             # resolved by the base's package manager
//! debs = ["site-tools_1.0_all.deb"]        # paths are relative to the recipe
//! requires = ["libfoo >= 1.2"]
//! conflicts = ["apache2"]
//! scripts = ["systemctl enable nginx"]     # each run by /bin/sh -eu in the sandbox, without network
//! format = "erofs"
//! fits = "debian 13"
//!
//! [[files]]
//! from = "site.conf"
//! to = "/etc/nginx/conf.d/site.conf"
//! mode = 0o644
//! ```

use std::path::{Component, Path, PathBuf};

use layers::id::{Name, Version};
use layers::plan::change::Refusal;
use layers::requirement::Requirement;
use layers::superblock::Format;
use serde::Deserialize;

use super::PutFile;

/// What a recipe says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecipeFile {
    /// The layer's name.
    pub(crate) name: Option<Name>,
    /// Its version.
    pub(crate) version: Option<Version>,
    /// Packages by name.
    pub(crate) packages: Vec<String>,
    /// Package files of Debian's.
    pub(crate) debs: Vec<PathBuf>,
    /// Package files of Fedora's.
    pub(crate) rpms: Vec<PathBuf>,
    /// The base to build on.
    pub(crate) base: Option<PathBuf>,
    /// Layers to build on, bottom first.
    pub(crate) on: Vec<PathBuf>,
    /// Where packages come from.
    pub(crate) sources: Option<PathBuf>,
    /// Files to put there.
    pub(crate) files: Vec<RecipeEntry>,
    /// Lines for /bin/sh.
    pub(crate) scripts: Vec<String>,
    /// Layers that it needs.
    pub(crate) requires: Vec<Requirement>,
    /// Layers beside which it must not be in one boot.
    pub(crate) conflicts: Vec<Requirement>,
    /// Whether a generation without it must not boot.
    pub(crate) required: bool,
    /// The image's file system.
    pub(crate) format: Option<Format>,
    /// Its architecture.
    pub(crate) architecture: Option<String>,
    /// The system that it fits.
    pub(crate) fits: Option<String>,
}

/// One of a recipe's files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecipeEntry {
    from: PathBuf,
    to: PathBuf,
    mode: Option<u32>,
}

impl RecipeFile {
    /// Reads a recipe's text; an error is a line and what is wrong there.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or(text).matches('\n').count() + 1;
            (line, error.message().lines().collect::<Vec<_>>().join("; "))
        })
    }

    /// Whether programs of a base are needed to make it.
    pub(crate) fn needs_base(&self) -> bool {
        let lists = [self.packages.is_empty(), self.debs.is_empty(), self.rpms.is_empty()];
        lists.contains(&false) || !self.scripts.is_empty()
    }

    /// The files, by paths that `directory`, the recipe's own, makes whole.
    pub(crate) fn put_files(&self, directory: &Path) -> Result<Vec<PutFile>, Refusal> {
        let file = |entry: &RecipeEntry| {
            let parts: Vec<Component<'_>> = entry.to.components().collect();
            let inside = parts.iter().skip(1).all(|part| matches!(part, Component::Normal(_)));
            if parts.first() != Some(&Component::RootDir) || parts.len() < 2 || !inside {
                let what = format!("the recipe puts a file to {}", entry.to.display());
                return Err(Refusal::new(
                    what,
                    "give a path from / on, without ..: to = \"/etc/x\"",
                ));
            }
            if entry.mode.is_some_and(|mode| mode > 0o7777) {
                let what = format!("the recipe gives {} an impossible mode", entry.to.display());
                return Err(Refusal::new(what, "write it as 0o644"));
            }
            let from = directory.join(&entry.from);
            Ok(PutFile { from, to: entry.to.clone(), mode: entry.mode })
        };
        self.files.iter().map(file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_recipe_is_one() {
        let text: String = include_str!("recipe.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n")
            .collect();
        let recipe = RecipeFile::parse(&text).unwrap();
        assert_eq!(recipe.packages, ["nginx", "curl"]);
        assert!(recipe.needs_base());
        let files = recipe.put_files(Path::new("/r")).unwrap();
        assert_eq!(files[0].from, Path::new("/r/site.conf"));
        assert_eq!(files[0].mode, Some(0o644));
    }

    #[test]
    fn files_stay_in_the_layer() {
        for to in ["etc/x", "/../x", "/etc/../../x", "/", ""] {
            let text = format!("[[files]]\nfrom = \"x\"\nto = \"{to}\"\n");
            let recipe = RecipeFile::parse(&text).unwrap();
            assert!(recipe.put_files(Path::new("/")).is_err(), "{to}");
            assert!(!recipe.needs_base());
        }
        assert!(RecipeFile::parse("nam = \"x\"\n").is_err());
    }
}
