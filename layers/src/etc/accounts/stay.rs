//! Which accounts and groups stay though the images no longer have them: those that something of the administrator's
//! refers to.

use std::collections::{BTreeMap, BTreeSet};

use super::References;
use super::keyed::Three;
use super::lines::{Text, members, set};

/// The files that refer to accounts; none where one is not merged.
pub(super) struct Files<'f, 'a> {
    pub(super) passwd: Option<&'f Three<'a>>,
    pub(super) group: Option<&'f Three<'a>>,
    pub(super) shadow: Option<&'f Three<'a>>,
    pub(super) gshadow: Option<&'f Three<'a>>,
    /// subuid and subgid.
    pub(super) ranges: [Option<&'f Three<'a>>; 2],
}

/// Names with the reason why they stay.
pub(super) type Staying<'a> = BTreeMap<&'a [u8], &'static str>;

fn is_changed(file: Option<&Three<'_>>, key: &[u8]) -> bool {
    file.is_some_and(|three| three.is_changed(key))
}

/// The accounts that stay.
pub(super) fn accounts<'a>(files: &Files<'_, 'a>, references: &References) -> Staying<'a> {
    let mut staying = Staying::new();
    let Some(passwd) = files.passwd else { return staying };
    let mut removed = passwd.removed().peekable();
    if removed.peek().is_none() {
        return staying;
    }
    let members = added_members(files);
    let ranges = own_ranges(files);
    for (key, line) in removed {
        let why = if passwd.is_changed(key) {
            "the administrator changed it"
        } else if is_changed(files.shadow, key) {
            "the administrator changed its password"
        } else if is_changed(files.group, key) || is_changed(files.gshadow, key) {
            "the administrator changed its group"
        } else if ranges.contains(key) {
            "the administrator gave it subordinate numbers"
        } else if members.contains(key) {
            "the administrator put it into a group"
        } else if line.number(2).is_some_and(|uid| references.uids.contains(&uid)) {
            "files belong to it"
        } else if references.homes.contains(line.field(5)) {
            "its home directory is there"
        } else {
            continue;
        };
        staying.insert(key, why);
    }
    staying
}

/// Names that the administrator, not the image, put into a group.
fn added_members<'a>(files: &Files<'_, 'a>) -> BTreeSet<&'a [u8]> {
    let mut added = BTreeSet::new();
    for (three, places) in [(files.group, &[3][..]), (files.gshadow, &[2, 3][..])] {
        let Some(three) = three else { continue };
        for line in &three.upper.lines {
            let Some(key) = line.key else { continue };
            let old = three.old.get(key);
            if old.is_some_and(|old| old.bytes == line.bytes) {
                continue;
            }
            for place in places {
                let had = old.map(|old| old.field(*place)).unwrap_or_default();
                let had = set(&mut members(had));
                added.extend(members(line.field(*place)).filter(|member| !had.contains(member)));
            }
        }
    }
    added
}

/// Names with a line in subuid or subgid that the old images had not.
fn own_ranges<'a>(files: &Files<'_, 'a>) -> BTreeSet<&'a [u8]> {
    let mut own = BTreeSet::new();
    for three in files.ranges.into_iter().flatten() {
        let old = three.old.set();
        let lines = three.upper.lines.iter().filter(|line| !old.contains(line.bytes));
        own.extend(lines.filter_map(|line| line.key));
    }
    own
}

/// The groups that stay, once it is known which accounts do.
pub(super) fn groups<'a>(
    files: &Files<'_, 'a>,
    passwd: &Text<'_>,
    references: &References,
) -> Staying<'a> {
    let mut staying = Staying::new();
    let Some(group) = files.group else { return staying };
    let mut removed = group.removed().peekable();
    if removed.peek().is_none() {
        return staying;
    }
    let mut primary = BTreeSet::new();
    primary.extend(passwd.keyed().filter_map(|(_, line)| line.number(3)));
    for (key, line) in removed {
        let gid = line.number(2);
        let why = if group.is_changed(key) || is_changed(files.gshadow, key) {
            "the administrator changed it"
        } else if files.passwd.is_none() {
            "it is not known which accounts have it as their group"
        } else if gid.is_some_and(|gid| primary.contains(&gid)) {
            "an account has it as its group"
        } else if gid.is_some_and(|gid| references.gids.contains(&gid)) {
            "files belong to it"
        } else {
            continue;
        };
        staying.insert(key, why);
    }
    staying
}

/// Names, and user numbers in decimal, of the accounts that stay though the new images do not have them.
pub(super) fn kept_names<'a>(passwd: Option<&Three<'_>>, result: &Text<'a>) -> BTreeSet<&'a [u8]> {
    let Some(passwd) = passwd else { return BTreeSet::new() };
    let kept = result.keyed().filter(|(key, _)| !passwd.new.has(key));
    set(&mut kept.flat_map(|(key, line)| [key, line.field(2)]))
}
