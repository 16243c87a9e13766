//! The merge of account files by key: what holds for every input, and what large or hostile ones cost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};

use layers::etc::accounts::{
    Candidates, Database, Input, Output, References, Upper, Versions, candidates, merge,
};
use layers::etc::report::NoteKind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn versions(old: &[u8], new: &[u8], upper: &[u8]) -> Versions {
    let text = |bytes: &[u8]| Some(bytes.to_vec());
    Versions { old: text(old), new: text(new), upper: Upper::Text(upper.to_vec()) }
}

fn input(files: &[(Database, [&str; 3])]) -> Input {
    let bytes = |text: &&str| text.as_bytes().to_vec();
    let files = files.iter().map(|(database, texts)| {
        let [old, new, upper] = texts.each_ref().map(bytes);
        (*database, versions(&old, &new, &upper))
    });
    Input { files: files.collect(), full: true }
}

fn text(output: &Output, database: Database) -> &str {
    std::str::from_utf8(&output.files[&database]).unwrap()
}

fn kinds(output: &Output) -> BTreeSet<NoteKind> {
    output.notes.iter().map(|note| note.kind).collect()
}

const CHRONY: &str = "chrony:x:100:103::/var/lib/chrony:/bin/false\n";

#[test]
fn candidates_are_the_accounts_that_both_sides_have_given_up() {
    let mut input = input(&[
        (Database::Passwd, [CHRONY, "", &format!("{CHRONY}me:x:1:1::/home/me:/bin/sh\n")]),
        (Database::Group, ["chrony:x:103:\n", "", "chrony:x:103:\n"]),
    ]);
    let want = Candidates {
        uids: [100].into(),
        gids: [103].into(),
        homes: [b"/var/lib/chrony".to_vec()].into(),
    };
    assert_eq!(candidates(&input), want);
    input.full = false;
    assert!(candidates(&input).is_empty());
}

#[test]
fn a_reference_by_number_or_home_keeps_an_account() {
    let input = input(&[(Database::Passwd, [CHRONY, "", CHRONY])]);
    let none = References::default();
    assert_eq!(text(&merge(&input, &none), Database::Passwd), "");
    for references in [
        References { uids: [100].into(), ..none.clone() },
        References { homes: [b"/var/lib/chrony".to_vec()].into(), ..none },
    ] {
        let merged = merge(&input, &references);
        assert_eq!(text(&merged, Database::Passwd), CHRONY);
        assert_eq!(kinds(&merged), [NoteKind::AccountKept].into());
    }
}

#[test]
fn an_account_file_that_the_upper_has_not_is_made_only_for_an_account_that_stays() {
    let mut input = input(&[(Database::Shadow, ["chrony:!::\n", "", "chrony:new:::\n"])]);
    let passwd = Versions {
        old: Some(CHRONY.into()),
        new: Some(b"root:x:0:0::/:/bin/sh\n".to_vec()),
        upper: Upper::Follows,
    };
    input.files.insert(Database::Passwd, passwd);
    let merged = merge(&input, &References::default());
    let want = format!("{CHRONY}root:x:0:0::/:/bin/sh\n");
    assert_eq!(text(&merged, Database::Passwd), want);
    // Nothing of the administrator's: the images' file does.
    input.files.get_mut(&Database::Shadow).unwrap().upper = Upper::Follows;
    assert!(merge(&input, &References::default()).files.is_empty());
}

#[test]
fn a_note_never_holds_a_password() {
    let input = input(&[(
        Database::Shadow,
        ["root:$old$:1::::::\n", "root:$new$:1::::::\n", "root:$mine$:2::::::\n"],
    )]);
    let merged = merge(&input, &References::default());
    assert_eq!(merged.notes.len(), 1);
    assert!(!merged.notes[0].what.contains('$'), "{}", merged.notes[0]);
}

#[test]
fn ten_megabytes_are_merged_and_notes_are_bounded() {
    let lines = |shell: &str| -> String {
        (0..200_000).map(|n| format!("user{n}:x:{}:1::/home/user{n}:{shell}\n", n / 2)).collect()
    };
    let (old, new, upper) = (lines("/bin/sh"), lines("/bin/bash"), lines("/bin/zsh"));
    assert!(upper.len() > 8 << 20);
    let input = input(&[(Database::Passwd, [&old, &new, &upper])]);
    let merged = merge(&input, &References::default());
    assert_eq!(text(&merged, Database::Passwd), upper);
    assert_eq!(merged.notes.len(), 2 * 101);
    // One line with every name as a member.
    let members = |n: usize| {
        let names: Vec<String> = (0..n).map(|n| format!("user{n}")).collect();
        format!("all:x:9:{}\n", names.join(","))
    };
    let (old, new, upper) = (members(1), members(200_000), members(200_001));
    let input = self::input(&[(Database::Group, [&old, &new, &upper])]);
    assert_eq!(text(&merge(&input, &References::default()), Database::Group), upper);
}

/// A line of an account file, from few names and few values, so that they meet.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let name = || select(vec!["root", "a", "b", "c", "d"]);
    let plain = (name(), 0..4_u8, 0..3_u8, name(), select(vec!["/bin/sh", "/bin/zsh"]));
    let odd = select(vec![
        &b"# comment"[..],
        b"",
        b"+@nis",
        b"-b",
        b"+:::",
        b"a\0:x:1:1",
        b"b:\xff:1:1",
        b":",
        b"no colon",
        b"/bin/sh",
        b"/bin/zsh",
    ]);
    prop_oneof![
        6 => plain.clone().prop_map(|(name, uid, gid, gecos, shell)| {
            format!("{name}:x:{uid}:{gid}:{gecos}:/home/{name}:{shell}").into_bytes()
        }),
        3 => (name(), 0..3_u8, vec(name(), 0..4)).prop_map(|(name, gid, members)| {
            format!("{name}:x:{gid}:{}", members.join(",")).into_bytes()
        }),
        3 => (name(), 0..3_u8, 0..3_u8).prop_map(|(name, password, age)| {
            format!("{name}:p{password}:{age}:0:9::::").into_bytes()
        }),
        2 => (name(), 0..4_u32, 0..4_u32).prop_map(|(name, start, length)| {
            format!("{name}:{start}:{length}").into_bytes()
        }),
        2 => odd.prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>().prop_filter("no newline", |byte| *byte != b'\n'), 0..12),
    ]
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    (vec(line(), 0..8), any::<bool>()).prop_map(|(lines, ends)| {
        let mut bytes = lines.join(&b'\n');
        if ends && !bytes.is_empty() {
            bytes.push(b'\n');
        }
        bytes
    })
}

fn references() -> impl Strategy<Value = References> {
    vec(any::<bool>(), 8).prop_map(|wanted| References {
        uids: (0..4).filter(|n| wanted[*n as usize]).collect(),
        gids: (0..4).filter(|n| wanted[*n as usize + 4]).collect(),
        homes: BTreeSet::new(),
    })
}

fn inputs() -> impl Strategy<Value = Input> {
    let upper = prop_oneof![
        5 => file().prop_map(Upper::Text),
        1 => Just(Upper::Follows),
        1 => Just(Upper::Apart),
    ];
    let one =
        (proptest::option::weighted(0.9, file()), proptest::option::weighted(0.9, file()), upper);
    let one = one.prop_map(|(old, new, upper)| Versions { old, new, upper });
    (vec(one, 7), any::<bool>()).prop_map(|(files, full)| Input {
        files: Database::ALL.into_iter().zip(files).collect(),
        full,
    })
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

/// A key as the formats have it.
fn key(line: &[u8]) -> Option<&[u8]> {
    let key = line.split(|&byte| byte == b':').next().filter(|key| key.len() < line.len())?;
    (!key.is_empty() && !b"#+-".contains(&line[0])).then_some(key)
}

/// The input of the next merge: what came out is the upper.
fn next(input: &Input, output: &Output, old_is_new: bool) -> Input {
    let mut files = BTreeMap::new();
    for (database, versions) in &input.files {
        let upper = match (output.files.get(database), &versions.upper) {
            (Some(bytes), _) => Upper::Text(bytes.clone()),
            (None, upper) => upper.clone(),
        };
        let old = if old_is_new { versions.new.clone() } else { versions.old.clone() };
        files.insert(*database, Versions { old, new: versions.new.clone(), upper });
    }
    Input { files, full: input.full }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A line that is the administrator's, not the old images', is in the result; of one that the images changed too,
    /// at least the fields that only he changed.
    #[test]
    fn no_change_of_the_administrators_is_lost(input in inputs(), references in references()) {
        let output = merge(&input, &references);
        for (database, versions) in &input.files {
            let Upper::Text(upper) = &versions.upper else { continue };
            let result = lines(&output.files[database]);
            let old = versions.old.as_deref().unwrap_or_default();
            let new = versions.new.as_deref().unwrap_or_default();
            let (old, new): (Vec<_>, Vec<_>) = (lines(old), lines(new));
            for line in lines(upper) {
                if old.contains(&line) || result.contains(&line) {
                    continue;
                }
                // Merged by field: a line of the same name, and the images have it too.
                let name = key(line).unwrap();
                let same = |other: &&&[u8]| key(other) == Some(name);
                let before = old.iter().find(same).unwrap();
                let image = new.iter().find(same).unwrap();
                let merged = result.iter().find(same).unwrap();
                let fields = |line: &[u8]| -> Vec<Vec<u8>> {
                    line.split(|&byte| byte == b':').map(<[u8]>::to_vec).collect()
                };
                let [before, image, mine, merged] = [before, image, line, merged].map(fields);
                for place in 0..mine.len() {
                    let list = matches!((database, place), (Database::Group, 3) | (Database::Gshadow, 2 | 3));
                    if list {
                        let set = |fields: &[Vec<u8>]| -> BTreeSet<Vec<u8>> {
                            let members = fields[place].split(|&byte| byte == b',');
                            members.filter(|m| !m.is_empty()).map(<[u8]>::to_vec).collect()
                        };
                        let [before, image, mine, merged] = [&before, &image, &mine, &merged].map(|f| set(f));
                        for member in mine.difference(&before) {
                            prop_assert!(merged.contains(member), "an added member is lost");
                        }
                        for member in before.difference(&mine) {
                            prop_assert!(!merged.contains(member), "a removed member is back");
                        }
                        for member in image.difference(&before) {
                            prop_assert!(merged.contains(member), "the image's member is missing");
                        }
                    } else if mine[place] != before[place] {
                        prop_assert_eq!(&merged[place], &mine[place]);
                    } else {
                        prop_assert_eq!(&merged[place], &image[place]);
                    }
                }
            }
        }
    }

    /// A line goes only if it was the old images', and the new images have another or none.
    #[test]
    fn only_what_the_images_gave_up_goes(input in inputs(), references in references()) {
        let output = merge(&input, &references);
        for (database, versions) in &input.files {
            let Upper::Text(upper) = &versions.upper else { continue };
            let result = lines(&output.files[database]);
            let old = lines(versions.old.as_deref().unwrap_or_default());
            for line in lines(upper) {
                let Some(name) = key(line).filter(|_| *database != Database::Shells) else { continue };
                if !input.full || versions.new.is_none() || !old.contains(&line) {
                    prop_assert!(result.iter().any(|other| key(other) == Some(name)));
                }
            }
            if !input.full || versions.new.is_none() {
                // Only added to: what was there is there, in the same order.
                let mut rest = result.iter();
                prop_assert!(lines(upper).iter().all(|line| rest.any(|other| other == line)));
            }
            for line in lines(upper).into_iter().filter(|line| key(line).is_none()) {
                let count = |all: &[&[u8]]| all.iter().filter(|other| **other == line).count();
                if *database != Database::Shells {
                    prop_assert_eq!(count(&lines(upper)), count(&result), "a line without key");
                }
            }
        }
    }

    /// Merged again with the same images, or with the new ones as the old ones, nothing changes.
    #[test]
    fn a_merge_of_a_merge_changes_nothing(input in inputs(), references in references()) {
        let output = merge(&input, &references);
        for old_is_new in [true, false] {
            let again = merge(&next(&input, &output, old_is_new), &references);
            for (database, bytes) in &output.files {
                prop_assert_eq!(
                    again.files[database].escape_ascii().to_string(),
                    bytes.escape_ascii().to_string(),
                    "{:?}, old is new: {}", database, old_is_new
                );
            }
        }
    }

    /// Whatever the images have new, the result has, unless the administrator has a line of that name or deleted it.
    #[test]
    fn a_new_account_appears(input in inputs(), references in references()) {
        let output = merge(&input, &references);
        for database in Database::ACCOUNTS {
            let versions = &input.files[&database];
            let Upper::Text(_) = &versions.upper else { continue };
            let names = |bytes: &[u8]| -> BTreeSet<Vec<u8>> {
                lines(bytes).into_iter().filter_map(key).map(<[u8]>::to_vec).collect()
            };
            let old = names(versions.old.as_deref().unwrap_or_default());
            let result = names(&output.files[&database]);
            for name in names(versions.new.as_deref().unwrap_or_default()).difference(&old) {
                prop_assert!(result.contains(name));
            }
        }
    }

    /// Any bytes at all.
    #[test]
    fn no_bytes_cause_a_panic(files in vec((vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200)), 7)) {
        let files = Database::ALL.into_iter().zip(files).map(|(d, (o, n, u))| (d, versions(&o, &n, &u)));
        let input = Input { files: files.collect(), full: true };
        let output = merge(&input, &candidates(&input));
        prop_assert_eq!(output.files.len(), 7);
    }
}
