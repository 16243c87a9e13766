//! What may be wrong with the files of layers, alone and over each other: from lists of their entries to findings.
//!
//! ```text
//! entries of the images, bottom first → contested → (a look at the contents) → examine → findings
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::scrutiny::{Check, InstallPolicy, Reaction};

/// Names in the root that are links into /usr on a base with a merged /usr (file-hierarchy(7)).
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Where the state file system has the store, and where a boot mounts it and the images.
const STORE: [&str; 2] = ["layerctl", "run/initramfs/layers"];

/// What a system goes by (os-release(5)); extensions must not bring it.
const OS_RELEASE: &str = "usr/lib/os-release";

/// Where package managers keep their lists: they go with the images and are nobody's data.
const LISTS: [&str; 2] = ["var/lib/dpkg/", "var/lib/rpm/"];

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory {
        /// Whether it hides what is below it.
        opaque: bool,
    },
    /// A regular file of that many bytes.
    File(u64),
    /// A symbolic link, and where it leads.
    Link(String),
    /// A character device 0:0: there is nothing here.
    Whiteout,
    /// A device, by its number.
    Device(u64),
    /// A pipe or socket.
    Other,
}

impl Node {
    fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

/// One path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Whether it has file capabilities (capabilities(7)).
    pub capabilities: bool,
}

/// An image, as far as this module looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// What people call it: `layer htop 3.4`.
    pub title: String,
    /// Its name.
    pub name: String,
    /// Whether it is the base. Of a base only the paths have to be there that layers have too.
    pub base: bool,
    /// By path without a leading slash; the root is the empty one.
    pub entries: BTreeMap<String, Entry>,
    /// Paths that its manifest declares to be deleted below it, with a leading slash.
    pub deletes: BTreeSet<String>,
    /// Names of layers that it is made to lie over.
    pub over: Vec<String>,
    /// Paths of the base that belong to packages which this layer brings in another version, without a leading slash.
    pub replaces: BTreeSet<String>,
}

/// Two files of one path, by their images' places in the stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The image whose file is seen.
    pub upper: usize,
    /// The image whose file is hidden.
    pub lower: usize,
    /// The path, without a leading slash.
    pub path: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A root directory that locks users out.
    Root,
    /// A directory in place of one of the links of a merged /usr.
    Merge,
    /// Whiteouts or opaque directories that are not declared.
    Deletions,
    /// A path where the store is, or is mounted.
    Store,
    /// Something that the policy decides on.
    Check(Check),
}

impl Subject {
    /// Its name: for a check its key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Merge => "merge",
            Self::Deletions => "deletions",
            Self::Store => "store",
            Self::Check(check) => check.name(),
        }
    }

    /// What follows; what no policy decides on makes a system that does not work.
    pub fn reaction(self, policy: &InstallPolicy) -> Reaction {
        match self {
            Self::Check(check) => policy.reaction(check),
            _ => Reaction::Refuse,
        }
    }
}

/// Something that was found, at one path or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// The image that has it, by its place in the stack.
    pub image: usize,
    /// The image below that it has to do with.
    pub other: Option<usize>,
    /// Absolute paths, sorted; at least one.
    pub paths: Vec<String>,
}

/// The pairs of files of one path and length whose contents have to be compared before [`examine`].
pub fn contested(stack: &[Image]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (upper, image) in layers(stack) {
        for (path, entry) in &image.entries {
            let Some((lower, below)) = below(stack, upper, path) else { continue };
            if let (Node::File(size), Node::File(other)) = (&entry.node, &below.node)
                && size == other
                && *size > 0
            {
                pairs.push(Pair { upper, lower, path: path.clone() });
            }
        }
    }
    pairs
}

/// Looks at every layer of a stack, bottom first; `different` are those of the [`contested`] pairs whose contents differ.
pub fn examine(stack: &[Image], different: &BTreeSet<Pair>) -> Vec<Finding> {
    let mut found: BTreeMap<(usize, Subject, Option<usize>), Vec<String>> = BTreeMap::new();
    for (place, image) in layers(stack) {
        for (path, entry) in &image.entries {
            let mut add = |subject, other| {
                found.entry((place, subject, other)).or_default().push(format!("/{path}"));
            };
            alone(image, path, entry).into_iter().for_each(|subject| add(subject, None));
            if let Some((lower, subject)) = over(stack, place, path, entry, different) {
                add(subject, Some(lower));
            }
        }
    }
    let finding = |((image, subject, other), paths)| Finding { subject, image, other, paths };
    found.into_iter().map(finding).collect()
}

fn layers(stack: &[Image]) -> impl Iterator<Item = (usize, &Image)> {
    stack.iter().enumerate().filter(|(_, image)| !image.base)
}

/// What an entry is by itself.
fn alone(image: &Image, path: &str, entry: &Entry) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let deletes = matches!(entry.node, Node::Whiteout | Node::Directory { opaque: true });
    if deletes && !image.deletes.contains(&format!("/{path}")) {
        subjects.push(Subject::Deletions);
    }
    if path.is_empty() && entry.mode & 0o005 != 0o005 {
        subjects.push(Subject::Root);
    }
    if STORE.contains(&path) {
        subjects.push(Subject::Store);
    }
    if path == OS_RELEASE && entry.node != Node::Whiteout {
        subjects.push(Subject::Check(Check::Identity));
    }
    if matches!(entry.node, Node::Device(_)) {
        subjects.push(Subject::Check(Check::Devices));
    }
    if matches!(entry.node, Node::File(_)) && entry.mode & 0o6000 != 0 {
        subjects.push(Subject::Check(Check::Setuid));
    }
    if entry.capabilities {
        subjects.push(Subject::Check(Check::Capabilities));
    }
    let in_var = path.starts_with("var/") && !LISTS.iter().any(|lists| path.starts_with(lists));
    if in_var && !entry.node.is_directory() && entry.node != Node::Whiteout {
        subjects.push(Subject::Check(Check::Var));
    }
    subjects
}

/// What an entry does to the one below it, and whose that is.
fn over(
    stack: &[Image],
    place: usize,
    path: &str,
    entry: &Entry,
    different: &BTreeSet<Pair>,
) -> Option<(usize, Subject)> {
    if entry.node == Node::Whiteout {
        return None;
    }
    let (lower, below) = below(stack, place, path)?;
    let subject = match (&entry.node, &below.node) {
        (Node::Directory { .. }, Node::Directory { .. }) => {
            let same = (entry.mode, entry.owner) == (below.mode, below.owner);
            return (!same).then_some((lower, Subject::Check(Check::Directories)));
        }
        (Node::Directory { .. }, Node::Link(_)) if MERGED.contains(&path) => Subject::Merge,
        (Node::Directory { .. }, _) | (_, Node::Directory { .. }) => Subject::Check(Check::Kinds),
        (Node::File(size), Node::File(other)) if size == other => {
            let pair = Pair { upper: place, lower, path: path.to_owned() };
            if !different.contains(&pair) {
                return None;
            }
            hidden(stack, place, lower, path)?
        }
        (node, other) if node == other => return None,
        _ => hidden(stack, place, lower, path)?,
    };
    Some((lower, subject))
}

/// What it is that a layer hides a file of another image by one of its own.
fn hidden(stack: &[Image], place: usize, lower: usize, path: &str) -> Option<Subject> {
    let (image, below) = (stack.get(place)?, stack.get(lower)?);
    if below.base {
        return (!image.replaces.contains(path)).then_some(Subject::Check(Check::Shadowing));
    }
    let meant = image.over.contains(&below.name);
    Some(Subject::Check(if meant { Check::Shadowing } else { Check::Conflicts }))
}

/// The entry that is seen at a path when the image at `place` and those above it are taken away; none where something
/// that stays hides it.
fn below<'a>(stack: &'a [Image], place: usize, path: &str) -> Option<(usize, &'a Entry)> {
    let mut upper = stack.get(place)?;
    for (lower, image) in stack.iter().enumerate().take(place).rev() {
        if ancestors(path).any(|ancestor| hides(upper, ancestor)) {
            return None;
        }
        if let Some(entry) = image.entries.get(path) {
            return (entry.node != Node::Whiteout).then_some((lower, entry));
        }
        upper = image;
    }
    None
}

/// Whether an image shows nothing of what others have below a path.
fn hides(image: &Image, ancestor: &str) -> bool {
    let hiding = |entry: &Entry| !matches!(entry.node, Node::Directory { opaque: false });
    image.entries.get(ancestor).is_some_and(hiding)
}

/// The directories above a path, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `PATH WHAT [MODE]`, parted by `;`: a directory `d`, an opaque one `o`, a file `f` and its length, a link `l` and where it leads, a
    /// whiteout `w`, a device `c`.
    fn entries(text: &str) -> BTreeMap<String, Entry> {
        let read = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (kind, rest) = words[1].split_at(1);
            let node = match kind {
                "d" => Node::Directory { opaque: false },
                "o" => Node::Directory { opaque: true },
                "f" => Node::File(rest.parse().unwrap()),
                "l" => Node::Link(rest.to_owned()),
                "w" => Node::Whiteout,
                "c" => Node::Device(rest.parse().unwrap()),
                _ => panic!("{line}"),
            };
            let usual = if node.is_directory() { 0o755 } else { 0o644 };
            let mode = words.get(2).map_or(usual, |mode| u32::from_str_radix(mode, 8).unwrap());
            let path = words[0].trim_matches('/').to_owned();
            (path, Entry { node, mode, owner: (0, 0), capabilities: words.contains(&"cap") })
        };
        text.split(';').filter(|line| !line.trim().is_empty()).map(read).collect()
    }

    fn image(name: &str, text: &str) -> Image {
        Image {
            title: name.into(),
            name: name.into(),
            base: name == "base",
            entries: entries(text),
            ..Image::default()
        }
    }

    /// What is found where all contested pairs of `different` paths differ.
    fn found(stack: &[Image], different: &[&str]) -> Vec<String> {
        let pairs = contested(stack).into_iter();
        let different = pairs.filter(|pair| different.contains(&pair.path.as_str())).collect();
        let line = |finding: Finding| {
            let other = finding.other.map(|other| format!(" {}", stack[other].name));
            format!(
                "{} {}{} {}",
                finding.subject.name(),
                stack[finding.image].name,
                other.unwrap_or_default(),
                finding.paths.join(",")
            )
        };
        examine(stack, &different).into_iter().map(line).collect()
    }

    fn two(a: &str, b: &str) -> Vec<String> {
        found(&[image("base", ""), image("a", a), image("b", b)], &["usr/x"])
    }

    #[test]
    fn different_files_of_one_path_are_a_conflict_and_identical_ones_are_not() {
        assert_eq!(two("usr/x f5", "usr/x f5"), ["conflicts b a /usr/x"]);
        assert_eq!(two("usr/y f5; usr/z f0", "usr/y f5; usr/z f0"), [""; 0]);
        assert_eq!(two("usr/y f5", "usr/y f6"), ["conflicts b a /usr/y"]);
        assert_eq!(two("usr/y lx", "usr/y ly"), ["conflicts b a /usr/y"]);
        assert_eq!(two("usr/y lx", "usr/y lx"), [""; 0]);
        assert_eq!(two("usr/y lx", "usr/y f3"), ["conflicts b a /usr/y"]);
    }

    #[test]
    fn a_file_over_a_directory_and_a_directory_over_a_file_are_told() {
        assert_eq!(two("usr/y d; usr/y/z f1", "usr/y f1"), ["kinds b a /usr/y"]);
        assert_eq!(two("usr/y f1", "usr/y d; usr/y/z f1"), ["kinds b a /usr/y"]);
        assert_eq!(two("usr/y d", "usr/y d 700"), ["directories b a /usr/y"]);
    }

    #[test]
    fn what_is_hidden_on_purpose_is_no_conflict() {
        let declared = |mut image: Image, path: &str| {
            image.deletes.insert(path.to_owned());
            image
        };
        let base = || image("base", "usr d; usr/d d; usr/d/x f1; usr/d/y f1");
        let opaque = declared(image("a", "usr d; usr/d o; usr/d/x f2"), "/usr/d");
        assert_eq!(found(&[base(), opaque.clone()], &[]), [""; 0]);
        // What lies over the opaque directory sees nothing of the base either.
        let above = image("b", "usr d; usr/d d; usr/d/y f2");
        assert_eq!(found(&[base(), opaque, above.clone()], &[]), [""; 0]);
        assert_eq!(found(&[base(), above], &[]), ["shadowing b base /usr/d/y"]);
        let whiteout = declared(image("a", "usr d; usr/d d; usr/d/x w"), "/usr/d/x");
        let again = image("b", "usr d; usr/d d; usr/d/x f2");
        assert_eq!(found(&[base(), whiteout, again], &[]), [""; 0]);
    }

    #[test]
    fn files_of_packages_that_a_layer_replaces_are_not_shadowed() {
        let base = image("base", "usr/x f1; usr/y f1");
        let mut layer = image("a", "usr/x f2; usr/y f2");
        layer.replaces.insert("usr/x".into());
        assert_eq!(found(&[base, layer], &[]), ["shadowing a base /usr/y"]);
        let mut upper = image("b", "usr/x f3");
        upper.over = vec!["a".into()];
        let lower = image("a", "usr/x f2");
        assert_eq!(found(&[image("base", ""), lower, upper], &[]), ["shadowing b a /usr/x"]);
    }

    #[test]
    fn what_a_layer_should_not_have_is_listed() {
        let base = image("base", "/ d; bin lusr/bin; var d; var/run l/run");
        let layer = image(
            "a",
            "/ d 700; bin d; var d; var/run d; var/run/x f1; usr/bin/su f1 4755; usr/bin/ping f1 755 cap; dev/null c259;\
             var/lib/dpkg/info/x.list f1;\
             gone w; hidden o; layerctl d; usr/lib/os-release lx",
        );
        let expected = [
            "root a /",
            "merge a base /bin",
            "deletions a /gone,/hidden",
            "store a /layerctl",
            "kinds a base /var/run",
            "identity a /usr/lib/os-release",
            "devices a /dev/null",
            "setuid a /usr/bin/su",
            "capabilities a /usr/bin/ping",
            "directories a base /",
            "var a /var/run/x",
        ];
        let mut is = found(&[base, layer], &[]);
        let mut expected = expected.map(str::to_owned).to_vec();
        is.sort();
        expected.sort();
        assert_eq!(is, expected);
    }

    #[test]
    fn a_base_is_not_examined() {
        assert_eq!(found(&[image("base", "usr/bin/su f1 4755; dev/null c259")], &[]), [""; 0]);
    }
}
