//! Users and groups of a stack: what systemd-sysusers(8) is told, so that every file of a layer belongs to whom it belonged
//! when the layer was built. Pure.
//!
//! Each layer says its users and groups with fixed numbers, in the lines of sysusers.d(5). Two layers that were built apart
//! may have given one number to two names: the one of which no file has that number gets another.

use std::collections::{BTreeMap, BTreeSet};

use layers::id::Name;
use layers::plan::change::Refusal;

/// A database that users or groups are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    User,
    Group,
}

/// Names and numbers that are there before: of passwd(5) and group(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    entries: Vec<(Kind, String, u32)>,
}

impl Known {
    /// Reads both files; a line without name and number is none.
    pub(super) fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let all =
            [(Kind::User, passwd), (Kind::Group, group)].into_iter().flat_map(|(kind, text)| {
                let lines = text.split(|&byte| byte == b'\n');
                lines.filter_map(move |line| {
                    let mut fields = std::str::from_utf8(line).ok()?.split(':');
                    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
                    Some((kind, name, fields.nth(1)?.parse().ok()?))
                })
            });
        Self { entries: all.collect() }
    }
}

/// What has every number of the base's accounts.
const BASE: &str = "the base";

/// What a layer says.
#[derive(Debug, Clone)]
pub(super) struct Claims<'a> {
    /// The layer.
    pub(super) layer: &'a Name,
    /// Lines of sysusers.d(5).
    pub(super) text: &'a str,
    /// Numbers of users that files of the layer belong to.
    pub(super) uids: &'a BTreeSet<u32>,
    /// Numbers of groups that files of the layer belong to.
    pub(super) gids: &'a BTreeSet<u32>,
}

/// A line of sysusers.d(5) that makes a user or a group.
#[derive(Debug, Clone)]
struct Line<'a> {
    /// `u`, `u!`, `g`.
    kind: &'a str,
    name: &'a str,
    id: Option<u32>,
    /// What stands after the user's number and a colon: a group.
    group: Option<&'a str>,
    rest: &'a str,
    layer: usize,
}

/// One name of one database, with the number that it is to have.
#[derive(Debug)]
struct Entry<'a> {
    kind: Kind,
    name: &'a str,
    id: Option<u32>,
    /// Who has files of this number, or the base: nobody else can have it.
    holder: Option<String>,
}

/// The lines for systemd-sysusers: fixed numbers first, then users that get one, then memberships.
pub(super) fn lines(base: &Known, layers: &[Claims<'_>]) -> Result<Vec<String>, Refusal> {
    let (parsed, members) = parse(layers);
    let mut entries: Vec<Entry<'_>> = base
        .entries
        .iter()
        .map(|(kind, name, id)| Entry {
            kind: *kind,
            name,
            id: Some(*id),
            holder: Some(BASE.to_owned()),
        })
        .collect();
    for line in &parsed {
        for entry in claimed(line, layers) {
            enter(&mut entries, entry)?;
        }
    }
    settle(&mut entries)?;
    let before: BTreeSet<(Kind, &str)> =
        base.entries.iter().map(|(kind, name, _)| (*kind, name.as_str())).collect();
    let mut fixed = Vec::new();
    let mut free = Vec::new();
    let mut done = BTreeSet::new();
    for line in &parsed {
        let kind = if line.kind == "g" { Kind::Group } else { Kind::User };
        if before.contains(&(kind, line.name)) || !done.insert((kind, line.name)) {
            continue;
        }
        let entry = entries.iter().find(|entry| entry.kind == kind && entry.name == line.name);
        let id = entry.and_then(|entry| entry.id);
        let group = line.group.map(|group| group_of(group, line.layer, &parsed, &entries));
        let text = written(line, id, group);
        if id.is_some() { fixed.push(text) } else { free.push(text) }
    }
    fixed.append(&mut free);
    let mut seen = BTreeSet::new();
    fixed.extend(members.into_iter().filter(|line| seen.insert(line.clone())));
    Ok(fixed)
}

fn parse<'a>(layers: &[Claims<'a>]) -> (Vec<Line<'a>>, Vec<String>) {
    let mut parsed = Vec::new();
    let mut members = Vec::new();
    for (layer, claims) in layers.iter().enumerate() {
        for text in claims.text.lines().map(str::trim) {
            let (kind, rest) = word(text);
            let (name, rest) = word(rest);
            let (id, rest) = word(rest);
            match kind {
                "m" if !name.is_empty() && !id.is_empty() => members.push(text.to_owned()),
                "u" | "u!" | "g" if !name.is_empty() => {
                    let (number, group) = match id.split_once(':') {
                        Some((number, group)) => (number, Some(group)),
                        None => (id, None),
                    };
                    let id = number.parse().ok();
                    parsed.push(Line { kind, name, id, group, rest, layer });
                }
                _ => {}
            }
        }
    }
    (parsed, members)
}

/// The first word of a line and what follows it; a word may be quoted as a whole.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    if let Some(quote) = text.chars().next().filter(|quote| ['"', '\''].contains(quote))
        && let Some((inside, rest)) = text.get(1..).unwrap_or_default().split_once(quote)
    {
        return (inside, rest.trim_start());
    }
    text.split_once(char::is_whitespace).map_or((text, ""), |(one, rest)| (one, rest.trim_start()))
}

/// What a line claims: a user without a group of another name has a group of its own name and number.
fn claimed<'a>(line: &Line<'a>, layers: &[Claims<'_>]) -> Vec<Entry<'a>> {
    let entry = |kind| {
        let claims = layers.get(line.layer);
        let files = claims.map(|claims| if kind == Kind::User { claims.uids } else { claims.gids });
        let has = line.id.is_some_and(|id| files.is_some_and(|files| files.contains(&id)));
        let holder = claims.filter(|_| has).map(|claims| format!("layer {}", claims.layer));
        Entry { kind, name: line.name, id: line.id, holder }
    };
    match (line.kind, line.group) {
        ("g", _) => vec![entry(Kind::Group)],
        (_, Some(_)) => vec![entry(Kind::User)],
        (_, None) => vec![entry(Kind::User), entry(Kind::Group)],
    }
}

/// One name has one number: that of files, else the one that was first.
fn enter<'a>(entries: &mut Vec<Entry<'a>>, new: Entry<'a>) -> Result<(), Refusal> {
    let same = |old: &&mut Entry<'_>| old.kind == new.kind && old.name == new.name;
    let Some(old) = entries.iter_mut().find(same) else {
        entries.push(new);
        return Ok(());
    };
    match (&old.holder, &new.holder) {
        (Some(one), Some(other)) if old.id != new.id => Err(clash(format!(
            "{} {} has number {} in {one} and {} in {other}",
            word_of(new.kind),
            new.name,
            number(old.id),
            number(new.id)
        ))),
        (None, Some(_)) => {
            (old.id, old.holder) = (new.id, new.holder);
            Ok(())
        }
        (None, None) if old.id.is_none() => {
            old.id = new.id;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// One number has one name: the one that files belong to, else the one that was first. The others get another.
fn settle(entries: &mut [Entry<'_>]) -> Result<(), Refusal> {
    let mut owners: BTreeMap<(Kind, u32), (String, Option<String>)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.holder.is_some()) {
        let Some(id) = entry.id else { continue };
        let own = (entry.name.to_owned(), entry.holder.clone());
        // A base may have two names for one number of its own.
        match owners.get(&(entry.kind, id)) {
            Some((_, holder)) if *holder == entry.holder && text(holder) == BASE => {}
            Some((name, holder)) => {
                let (one, other) = (text(holder), text(&entry.holder));
                let kind = word_of(entry.kind);
                return Err(clash(format!(
                    "{kind} number {id} is {name} in {one} and {} in {other}, and files of both have it",
                    entry.name
                )));
            }
            None => drop(owners.insert((entry.kind, id), own)),
        }
    }
    for entry in entries.iter_mut().filter(|entry| entry.holder.is_none()) {
        let Some(id) = entry.id else { continue };
        let owner = owners.entry((entry.kind, id)).or_insert_with(|| (entry.name.to_owned(), None));
        if owner.0 != entry.name {
            entry.id = None;
        }
    }
    Ok(())
}

/// The group of a user, by its name where it has another number than its layer thinks.
fn group_of<'a>(
    group: &'a str,
    layer: usize,
    lines: &[Line<'a>],
    entries: &[Entry<'_>],
) -> &'a str {
    let Ok(id) = group.parse::<u32>() else { return group };
    let own = |line: &&Line<'_>| line.kind == "g" && line.layer == layer && line.id == Some(id);
    let moved = lines.iter().find(own).filter(|line| {
        let is = |entry: &&Entry<'_>| entry.kind == Kind::Group && entry.name == line.name;
        entries.iter().find(is).is_some_and(|entry| entry.id != Some(id))
    });
    moved.map_or(group, |line| line.name)
}

fn written(line: &Line<'_>, id: Option<u32>, group: Option<&str>) -> String {
    let id = number(id);
    let group = group.map(|group| format!(":{group}")).unwrap_or_default();
    format!("{} {} {id}{group} {}", line.kind, line.name, line.rest).trim_end().to_owned()
}

fn number(id: Option<u32>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

fn text(holder: &Option<String>) -> &str {
    holder.as_deref().unwrap_or_default()
}

fn word_of(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user",
        Kind::Group => "group",
    }
}

fn clash(what: String) -> Refusal {
    Refusal::new(what, "build one of them again on the others: layerctl build … --on LAYER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/x\nodd\n";
    const GROUP: &[u8] = b"root:x:0:\nmail:x:8:\n";

    fn told(layers: &[(&str, &str, &[u32])]) -> Result<Vec<String>, Refusal> {
        let names: Vec<Name> = layers.iter().map(|(name, ..)| name.parse().unwrap()).collect();
        let sets: Vec<BTreeSet<u32>> =
            layers.iter().map(|(.., ids)| ids.iter().copied().collect()).collect();
        let claims: Vec<Claims<'_>> = layers
            .iter()
            .zip(names.iter().zip(&sets))
            .map(|((_, text, _), (layer, ids))| Claims { layer, text, uids: ids, gids: ids })
            .collect();
        lines(&Known::parse(PASSWD, GROUP), &claims)
    }

    #[test]
    fn layers_without_a_clash_keep_their_numbers() {
        let web =
            "# made\nu nginx 433 \"nginx server\" /nonexistent\ng adm-web 434\nm nginx adm-web\n";
        let mail = "u! \"postfix\" 500:501 - /var\ng postfix 501\nm nginx adm-web\nm x\n";
        let lines = told(&[("web", web, &[433]), ("mail", mail, &[500, 501])]).unwrap();
        assert_eq!(
            lines,
            [
                "u nginx 433 \"nginx server\" /nonexistent",
                "g adm-web 434",
                "u! postfix 500:501 - /var",
                "g postfix 501",
                "m nginx adm-web",
            ]
        );
    }

    #[test]
    fn a_name_without_files_gives_way() {
        let one = ("one", "u a 433 - /a\n", [433].as_slice());
        let two = ("two", "u b 433 - /b\n", [].as_slice());
        let expected = Ok(vec!["u a 433 - /a".to_owned(), "u b - - /b".to_owned()]);
        assert_eq!(told(&[one, two]), expected);
        let reverse = told(&[two, one]).unwrap();
        assert_eq!(reverse, ["u a 433 - /a", "u b - - /b"]);
        let neither = told(&[("one", one.1, &[]), two]).unwrap();
        assert_eq!(neither, ["u a 433 - /a", "u b - - /b"]);
    }

    #[test]
    fn two_names_with_files_of_one_number_are_refused() {
        let error =
            told(&[("one", "u a 433\n", &[433]), ("two", "u b 433\n", &[433])]).unwrap_err();
        assert_eq!(
            error.what,
            "user number 433 is a in layer one and b in layer two, and files of both have it"
        );
        let error = told(&[("one", "u a 8\n", &[8])]).unwrap_err();
        assert!(error.what.contains("mail in the base and a in layer one"), "{}", error.what);
    }

    #[test]
    fn the_bases_own_accounts_stay_as_they_are() {
        assert_eq!(
            told(&[("one", "u mail 8 - /\nu! root 0\n", &[8])]).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(told(&[("one", "u mail 433\n", &[])]).unwrap(), Vec::<String>::new());
        let error = told(&[("one", "u mail 433\n", &[433])]).unwrap_err();
        assert_eq!(error.what, "user mail has number 8 in the base and 433 in layer one");
        assert_eq!(told(&[("one", "u a 8\n", &[])]).unwrap(), ["u a -"]);
    }

    #[test]
    fn a_group_that_moves_takes_its_user_along() {
        let one = ("one", "g x 500\n", [500].as_slice());
        let two = ("two", "g y 500\nu b 433:500 - /b\n", [433].as_slice());
        assert_eq!(told(&[one, two]).unwrap(), ["g x 500", "u b 433:y - /b", "g y -"]);
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice(
            texts in prop::collection::vec(
                ("((u|g|u!|m|x) [abc] (5|6|7|-|5:6|6:a)( rest)?\n|.{0,9}\n){0,5}", prop::collection::btree_set(4_u32..8, 0..3)),
                0..4,
            ),
        ) {
            let names: Vec<Name> = (0..4).map(|n| format!("l{n}").parse().unwrap()).collect();
            let claims: Vec<Claims<'_>> = texts
                .iter()
                .zip(&names)
                .map(|((text, ids), layer)| Claims { layer, text, uids: ids, gids: ids })
                .collect();
            if let Ok(lines) = lines(&Known::parse(PASSWD, GROUP), &claims) {
                for kinds in [["u", "u!"], ["g", "g"]] {
                    let mut seen = BTreeSet::new();
                    for line in &lines {
                        let (kind, rest) = word(line);
                        let id = word(word(rest).1).0.split(':').next().unwrap_or_default();
                        if kinds.contains(&kind) && id != "-" {
                            prop_assert!(seen.insert(id.to_owned()), "{lines:?}");
                        }
                    }
                }
            }
        }
    }
}
