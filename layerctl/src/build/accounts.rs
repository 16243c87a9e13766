//! Users and groups that a layer adds: told by the account files before and after, with numbers that two layers built
//! apart will hardly share. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

/// The numbers that layers' accounts get: the upper part of what distributions give to system users (100 or 201 to 999),
/// which their own tools hand out from one of the ends on.
const RANGE: std::ops::RangeInclusive<u32> = 400..=899;

/// Numbers that a package's script was given because they were free; others it asked for, and they stay.
const GIVEN: std::ops::RangeInclusive<u32> = 100..=999;

/// The text of /etc/passwd and /etc/group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Files<'a> {
    /// /etc/passwd
    pub(super) passwd: &'a str,
    /// /etc/group
    pub(super) group: &'a str,
}

/// What a layer adds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// Lines of sysusers.d(5): groups, users, memberships; each with its number. Empty where nothing is added.
    pub(super) text: String,
    /// The numbers that users get in place of those that they have in the tree.
    pub(super) uids: BTreeMap<u32, u32>,
    /// The same for groups.
    pub(super) gids: BTreeMap<u32, u32>,
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    gecos: &'a str,
    home: &'a str,
    shell: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

fn users(text: &str) -> Vec<User<'_>> {
    fn parse(line: &str) -> Option<User<'_>> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let mut rest = || fields.next().unwrap_or_default();
        let (gecos, home, shell) = (rest(), rest(), rest());
        Some(User { name, uid, gid, gecos, home, shell })
    }
    text.lines().filter_map(parse).collect()
}

fn groups(text: &str) -> Vec<Group<'_>> {
    fn parse(line: &str) -> Option<Group<'_>> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or_default();
        let members = members.split(',').filter(|member| !member.is_empty()).collect();
        Some(Group { name, gid, members })
    }
    text.lines().filter_map(parse).collect()
}

/// Tells what `after` has more than `before`, and gives numbers.
pub(super) fn added(before: Files<'_>, after: Files<'_>) -> Added {
    let (old_users, old_groups) = (users(before.passwd), groups(before.group));
    let known_user = |user: &User<'_>| old_users.iter().any(|old| old.name == user.name);
    let known_group = |group: &Group<'_>| old_groups.iter().any(|old| old.name == group.name);
    let all_groups = groups(after.group);
    let new_users: Vec<User<'_>> =
        users(after.passwd).into_iter().filter(|user| !known_user(user)).collect();
    let new_groups: Vec<&Group<'_>> =
        all_groups.iter().filter(|group| !known_group(group)).collect();

    let mut taken: BTreeSet<u32> = old_users.iter().map(|user| user.uid).collect();
    taken.extend(old_groups.iter().map(|group| group.gid));
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut names: BTreeMap<&str, u32> = new_users.iter().map(|it| (it.name, it.uid)).collect();
    for group in &new_groups {
        names.entry(group.name).or_insert(group.gid);
    }
    for (name, has) in names {
        let number = if GIVEN.contains(&has) { free(name, &taken) } else { has };
        taken.insert(number);
        numbers.insert(name, number);
    }
    let number = |name: &str, has: u32| numbers.get(name).copied().unwrap_or(has);

    let mut lines = Vec::new();
    for group in &new_groups {
        let own = new_users.iter().any(|user| user.name == group.name && user.gid == group.gid);
        if !own {
            lines.push(format!("g {} {}", group.name, number(group.name, group.gid)));
        }
    }
    for user in &new_users {
        let uid = number(user.name, user.uid);
        let group = all_groups.iter().find(|group| group.gid == user.gid);
        let id = match group {
            Some(group) if group.name == user.name && !known_group(group) => uid.to_string(),
            Some(group) => format!("{uid}:{}", group.name),
            None => format!("{uid}:{}", user.gid),
        };
        let field = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let gecos = match user.gecos.trim_end_matches(',') {
            "" => "-".to_owned(),
            text => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        };
        let line =
            format!("u {} {id} {gecos} {} {}", user.name, field(user.home), field(user.shell));
        lines.push(line);
    }
    for group in &all_groups {
        let old = old_groups.iter().find(|old| old.name == group.name);
        let is_old = |member: &str| old.is_some_and(|old| old.members.contains(&member));
        let joined = group.members.iter().filter(|member| !is_old(member));
        lines.extend(joined.map(|member| format!("m {member} {}", group.name)));
    }
    let changed = |pair: &(u32, u32)| pair.0 != pair.1;
    Added {
        text: lines.iter().map(|line| format!("{line}\n")).collect(),
        uids: new_users
            .iter()
            .map(|it| (it.uid, number(it.name, it.uid)))
            .filter(changed)
            .collect(),
        gids: new_groups
            .iter()
            .map(|it| (it.gid, number(it.name, it.gid)))
            .filter(changed)
            .collect(),
    }
}

/// The number that follows from a name, or the next one that is free.
fn free(name: &str, taken: &BTreeSet<u32>) -> u32 {
    let hash = Sha256::digest(name.as_bytes());
    let hash = hash.iter().take(4).fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
    let size = RANGE.end() - RANGE.start() + 1;
    let all = (0..size).map(|step| RANGE.start() + (hash % size + step) % size);
    let mut all = all.filter(|number| !taken.contains(number));
    // A system with so many accounts has no number that nobody else has.
    all.next().unwrap_or(hash % size + RANGE.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Files<'_> = Files {
        passwd: "root:x:0:0:root:/root:/bin/bash\nmail:x:8:8::/var/mail:/x\n",
        group: "root:x:0:\nmail:x:8:\nadm:x:4:\nnogroup:x:65534:\n",
    };

    fn after(passwd: &str, group: &str) -> Added {
        let passwd = format!("{}{passwd}", BEFORE.passwd);
        added(BEFORE, Files { passwd: &passwd, group })
    }

    #[test]
    fn a_user_with_its_group_has_one_number_for_both() {
        let passwd = "nginx:x:100:101:nginx user,,,:/nonexistent:/bin/false\n";
        let group = "root:x:0:\nadm:x:4:nginx\nnginx:x:101:\n";
        let found = after(passwd, group);
        let id = found.uids[&100];
        assert!(RANGE.contains(&id));
        assert_eq!(found.gids[&101], id);
        assert_eq!(
            found.text,
            format!("u nginx {id} \"nginx user\" /nonexistent /bin/false\nm nginx adm\n")
        );
    }

    #[test]
    fn other_groups_have_numbers_of_their_own_and_fixed_ones_stay() {
        let passwd = "a:x:100:65534::/:\nb:x:50:102:::\n";
        let found = after(passwd, "nogroup:x:65534:\nc:x:102:a\nstatic:x:60:\n");
        let (a, c) = (found.uids[&100], found.gids[&102]);
        assert_ne!(a, c);
        assert_eq!(
            found.text,
            format!("g c {c}\ng static 60\nu a {a}:nogroup - / -\nu b 50:c - - -\nm a c\n")
        );
        assert_eq!((found.uids.len(), found.gids.len()), (1, 1));
    }

    #[test]
    fn a_number_that_is_taken_moves_to_the_next() {
        let none = BTreeSet::new();
        let first = free("nginx", &none);
        assert_eq!(free("nginx", &none), first);
        let next = free("nginx", &BTreeSet::from([first]));
        assert_eq!(next, if first == *RANGE.end() { *RANGE.start() } else { first + 1 });
        assert!(RANGE.contains(&free("x", &RANGE.collect())));
    }

    #[test]
    fn nothing_new_is_nothing() {
        assert_eq!(added(BEFORE, BEFORE), Added::default());
    }
}
