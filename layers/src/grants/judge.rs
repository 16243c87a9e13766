//! Goes through a layer's entries and tells what needs a grant, and what none makes right.

use std::collections::{BTreeMap, BTreeSet};

use super::protected::{self, UNITS};
use super::{Entry, Flaw, Ground, Judgement, LONGEST_PATH, MOST_ENTRIES, Need, Node, Right, names};

/// The most names in a directory that nobody asks about; /usr/bin of a desktop has 5,000.
const MANY: usize = 1 << 14;

/// The most directories above a file that nobody asks about.
const DEEP: usize = 48;

/// Directories that everybody may write, where the sticky bit keeps files apart.
const SHARED: [&[u8]; 3] = [b"tmp", b"var/tmp", b"var/crash"];

/// Directories where names are data and nobody types them: two that look alike do no harm there.
const DATA: [&[u8]; 5] = [b"usr/share/", b"usr/include/", b"usr/src/", b"var/", b"srv/"];

/// Directories of every base: what is no directory there takes the place of one.
const DIRECTORIES: [&[u8]; 30] = [
    b"boot",
    b"dev",
    b"etc",
    b"home",
    b"opt",
    b"proc",
    b"root",
    b"run",
    b"srv",
    b"sys",
    b"tmp",
    b"usr",
    b"var",
    b"usr/bin",
    b"usr/lib",
    b"usr/local",
    b"usr/local/bin",
    b"usr/sbin",
    b"usr/share",
    b"usr/lib/systemd",
    b"usr/lib/systemd/system",
    b"usr/lib/modules",
    b"etc/systemd",
    b"etc/systemd/system",
    b"etc/pam.d",
    b"etc/ssh",
    b"etc/sudoers.d",
    b"var/lib",
    b"var/log",
    b"usr/libexec",
];

/// The mark of a directory that hides what is below it; nothing of it goes on anything else.
const OPAQUE: [&[u8]; 2] = [b"trusted.overlay.opaque", b"user.overlay.opaque"];

/// The attribute that holds file capabilities (capabilities(7)).
const CAPABILITY: &[u8] = b"security.capability";

/// Attributes that the kernel acts on; those that begin so.
const ACTED_ON: [&[u8]; 3] = [b"security.", b"trusted.", b"system."];

/// Looks at the entries of the layer `name`, over what is below it.
pub fn judge(name: &str, entries: &[Entry], ground: &Ground) -> Judgement {
    let mut found = Found::default();
    if entries.len() > MOST_ENTRIES {
        found.endless = true;
        found.flaw(b"", format!("it has more than {MOST_ENTRIES} entries"));
    }
    let mut directories = BTreeSet::new();
    for entry in entries {
        found.flaws_of(entry);
        if matches!(entry.node, Node::Directory { .. }) && !directories.insert(entry.inode) {
            found.endless = true;
            found.flaw(&entry.path, "a directory that is at another place too");
        }
        found.node(entry);
        found.rights(entry);
        found.over(name, entry, ground);
    }
    found.links(entries);
    found.looks(entries, ground);
    found.done()
}

#[derive(Default)]
struct Found {
    needs: BTreeSet<Need>,
    flaws: BTreeSet<Flaw>,
    endless: bool,
}

impl Found {
    fn done(self) -> Judgement {
        let Self { needs, flaws, endless } = self;
        let (needs, flaws) = (needs.into_iter().collect(), flaws.into_iter().collect());
        Judgement { needs, flaws, endless }
    }

    fn need(&mut self, right: Right, path: &[u8]) {
        self.needs.insert(Need { right, path: path.to_owned() });
    }

    fn flaw(&mut self, path: &[u8], what: impl Into<String>) {
        self.flaws.insert(Flaw { path: path.to_owned(), what: what.into() });
    }

    /// What nothing makes right.
    fn flaws_of(&mut self, entry: &Entry) {
        let path = &entry.path;
        if path.len() > LONGEST_PATH {
            self.endless = true;
            self.flaw(path, "a path that is too long");
        }
        let climbs = |name: &[u8]| [b"".as_slice(), b".", b".."].contains(&name);
        if !path.is_empty() && path.split(|&byte| byte == b'/').any(climbs) {
            self.flaw(path, "a name that leads elsewhere");
        }
        let control = |character: char| character.is_control();
        if path.utf8_chunks().any(|chunk| chunk.valid().contains(control)) {
            self.flaw(path, "a name with control characters, which no list can show");
        }
        if path.is_empty() && !matches!(entry.node, Node::Directory { .. }) {
            self.flaw(path, "the root is no directory");
        }
        if path.is_empty() && (entry.mode & 0o005 != 0o005 || entry.mode & 0o7002 != 0) {
            let mode = entry.mode;
            self.flaw(
                path,
                format!("the root directory has mode {mode:04o}, and so would the system's"),
            );
        }
        for attribute in &entry.attributes {
            let mark = OPAQUE.contains(&attribute.as_slice())
                && matches!(entry.node, Node::Directory { .. });
            let overlay = |space: &[u8]| attribute.starts_with(space);
            if !mark && [b"trusted.overlay.".as_slice(), b"user.overlay."].into_iter().any(overlay)
            {
                let attribute = String::from_utf8_lossy(attribute);
                let attribute = attribute.escape_debug();
                self.flaw(path, format!("the attribute {attribute}, which is OverlayFS's own"));
            }
        }
    }

    /// What an entry is by its type and attributes.
    fn node(&mut self, entry: &Entry) {
        let path = &entry.path;
        let right = match &entry.node {
            Node::Fifo => Some(Right::Fifo),
            Node::Socket => Some(Right::Socket),
            Node::Whiteout => Some(Right::Whiteout),
            Node::Device => Some(Right::Device),
            Node::Directory { opaque: true, .. } => Some(Right::Opaque),
            Node::Link(target) if climbs_out(path, target) => Some(Right::Leads),
            _ => None,
        };
        right.into_iter().for_each(|right| self.need(right, path));
        if matches!(entry.node, Node::Directory { names, .. } if names > MANY) {
            self.need(Right::Huge, path);
        }
        if path.iter().filter(|&&byte| byte == b'/').count() > DEEP {
            self.need(Right::Deep, path);
        }
        let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if !path.is_empty() && names::misleads(last) {
            self.need(Right::Name, path);
        }
        for attribute in &entry.attributes {
            if attribute == CAPABILITY {
                self.need(Right::Capabilities, path);
            } else if ACTED_ON.iter().any(|space| attribute.starts_with(space))
                && !OPAQUE.contains(&attribute.as_slice())
            {
                self.need(Right::Attribute, path);
            }
        }
    }

    /// Modes and owners. A symbolic link has none that count.
    fn rights(&mut self, entry: &Entry) {
        let (path, mode, (user, group)) = (&entry.path, entry.mode, entry.owner);
        if matches!(entry.node, Node::Link(_) | Node::Whiteout) {
            return;
        }
        if mode & 0o4000 != 0 {
            self.need(Right::Setuid, path);
        }
        if mode & 0o2000 != 0 {
            self.need(Right::Setgid, path);
        }
        let shared = SHARED.contains(&path.as_slice()) && mode & 0o1000 != 0;
        if (mode & 0o002 != 0 && !shared) || (mode & 0o020 != 0 && group != 0) {
            self.need(Right::Writable, path);
        }
        let program = entry.node == Node::File && mode & 0o111 != 0;
        let of_the_system = path.is_empty()
            || [b"usr".as_slice(), b"etc"].contains(&path.as_slice())
            || [b"usr/".as_slice(), b"etc/"].into_iter().any(|top| path.starts_with(top));
        if user != 0 && (program || of_the_system) {
            self.need(Right::Owner, path);
        }
    }

    /// What an entry does to what is below it, and to the files that decide who may do what.
    fn over(&mut self, name: &str, entry: &Entry, ground: &Ground) {
        let path = &entry.path;
        let below = ground.get(path);
        let plain = matches!(entry.node, Node::Directory { opaque: false, .. });
        if plain {
            let differs = |it: &&super::Below| {
                it.directory && (it.mode, it.owner) != (entry.mode, entry.owner)
            };
            if below.filter(differs).is_some() {
                self.need(Right::Mode, path);
            }
            return;
        }
        let place = below.map_or(DIRECTORIES.contains(&path.as_slice()), |it| it.directory);
        let masks = protected::is_protected(path)
            || (place && protected::has_protected(path))
            || (below.is_some() && protected::is_protected_below(path))
            || changes_unit(path, ground);
        if masks && !protected::is_own(path, name) {
            self.need(Right::Masks, path);
        }
        if place && matches!(entry.node, Node::Link(_)) {
            self.need(Right::Leads, path);
        }
    }

    /// Other names of files that decide who may do what, or that run as somebody else.
    fn links(&mut self, entries: &[Entry]) {
        let mut files: BTreeMap<u64, Vec<&Entry>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.node == Node::File) {
            files.entry(entry.inode).or_default().push(entry);
        }
        for group in files.values().filter(|group| group.len() > 1) {
            let counts = |entry: &&Entry| {
                entry.mode & 0o6000 != 0
                    || entry.attributes.iter().any(|attribute| attribute == CAPABILITY)
                    || protected::is_protected(&entry.path)
            };
            if group.iter().any(counts) {
                group.iter().for_each(|entry| self.need(Right::Link, &entry.path));
            }
        }
    }

    /// Names that look like another one of their directory, in the layer or below it.
    fn looks(&mut self, entries: &[Entry], ground: &Ground) {
        let data = |path: &[u8]| DATA.iter().any(|top| path.starts_with(top));
        let key = |path: &[u8]| {
            let (directory, name) = parted(path);
            (directory.to_owned(), names::look(name))
        };
        let mut seen: BTreeMap<(Vec<u8>, String), BTreeSet<&[u8]>> = BTreeMap::new();
        let own = entries.iter().map(|entry| entry.path.as_slice());
        for path in own.clone().chain(ground.keys().map(Vec::as_slice)) {
            if !path.is_empty() && !data(path) {
                seen.entry(key(path)).or_default().insert(path);
            }
        }
        let twice = |path: &&[u8]| {
            !path.is_empty() && !data(path) && seen.get(&key(path)).is_some_and(|all| all.len() > 1)
        };
        // Where the base has two such names of its own, a layer that has one of them does nothing new.
        for path in own.filter(twice).filter(|path| !ground.contains_key(*path)) {
            self.need(Right::Name, path);
        }
        // A name that looks like that of a protected file, which the base need not have.
        for entry in entries {
            let (directory, name) = parted(&entry.path);
            let look = names::look(name);
            if look.as_bytes() != name && !data(&entry.path) {
                let as_seen = [directory, b"/", look.as_bytes()].concat();
                if protected::is_protected(as_seen.strip_prefix(b"/").unwrap_or(&as_seen)) {
                    self.need(Right::Name, &entry.path);
                }
            }
        }
    }
}

/// The directory of a path and the name in it.
fn parted(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// Whether a link leads above the root that it is in, which only matters to who looks at the image from outside.
fn climbs_out(path: &[u8], target: &[u8]) -> bool {
    let absolute = target.starts_with(b"/");
    let mut depth = match absolute {
        true => 0_i64,
        false => path.iter().filter(|&&byte| byte == b'/').count() as i64,
    };
    for name in target.split(|&byte| byte == b'/') {
        depth += match name {
            b"" | b"." => 0,
            b".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return true;
        }
    }
    false
}

/// Whether a path changes a unit that is below, at whatever place, or all units of a type (systemd.unit(5)).
fn changes_unit(path: &[u8], ground: &Ground) -> bool {
    let rest = UNITS.iter().find_map(|units| {
        path.strip_prefix(units.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"))
    });
    let Some(rest) = rest else { return false };
    let first = rest.split(|&byte| byte == b'/').next().unwrap_or_default();
    let unit = first.strip_suffix(b".d").unwrap_or(first);
    // `service.d` and `foo-.service.d` are for many units.
    if unit != first && (!unit.contains(&b'.') || unit.windows(2).any(|two| two == b"-.")) {
        return true;
    }
    UNITS.iter().any(|units| ground.contains_key(&[units.as_bytes(), b"/", unit].concat()))
}
