use super::*;

/// Reads `PATH WHAT [MODE] [UID:GID] [+ATTRIBUTE]`, parted by `;`. WHAT is `d`, `o` (opaque), `f` and its inode, `l` and where
/// it leads, `w`, `c`, `p`, `s`.
fn entries(text: &str) -> Vec<Entry> {
    let read = |(number, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, rest) = words[1].split_at(1);
        let node = match kind {
            "d" => Node::Directory { names: rest.parse().unwrap_or(1), opaque: false },
            "o" => Node::Directory { names: 1, opaque: true },
            "f" => Node::File,
            "l" => Node::Link(rest.as_bytes().to_vec()),
            "w" => Node::Whiteout,
            "c" => Node::Device,
            "p" => Node::Fifo,
            "s" => Node::Socket,
            _ => panic!("{line}"),
        };
        let inode = match kind {
            "f" => rest.parse().unwrap_or(1_000 + number as u64),
            _ => 1_000 + number as u64,
        };
        let usual = if matches!(node, Node::Directory { .. }) { 0o755 } else { 0o644 };
        let (mut mode, mut owner, mut attributes) = (usual, (0, 0), Vec::new());
        for word in &words[2..] {
            if let Some(attribute) = word.strip_prefix('+') {
                attributes.push(attribute.as_bytes().to_vec());
            } else if let Some((user, group)) = word.split_once(':') {
                owner = (user.parse().unwrap(), group.parse().unwrap());
            } else {
                mode = u32::from_str_radix(word, 8).unwrap();
            }
        }
        let path = words[0].trim_matches('/').as_bytes().to_vec();
        Entry { path, node, mode, owner, inode, attributes }
    };
    text.split(';').filter(|line| !line.trim().is_empty()).enumerate().map(read).collect()
}

fn over(text: &str, ground: &str) -> Judgement {
    let below = |entry: Entry| {
        let directory = matches!(entry.node, Node::Directory { .. });
        (entry.path, Below { directory, mode: entry.mode, owner: entry.owner })
    };
    judge("own", &entries(text), &entries(ground).into_iter().map(below).collect())
}

fn needs(text: &str, ground: &str) -> Vec<String> {
    let judgement = over(text, ground);
    assert_eq!(judgement.flaws, [], "{text}");
    judgement.needs.iter().map(ToString::to_string).collect()
}

#[test]
fn an_ordinary_layer_needs_nothing() {
    let base = "usr d; usr/bin d; usr/bin/vi f; usr/lib/systemd/system d; usr/lib/systemd/system/ssh.service f";
    let layer = "/ d; usr d; usr/bin d; usr/bin/app f 755; usr/bin/vi f 755; usr/lib/app l../../opt/app; etc/app l/opt/app;\
        usr/lib/systemd/system/app.service f; etc/systemd/system/multi-user.target.wants/app.service l/usr/lib/x;\
        usr/lib/layerctl/layers/own/dpkg-status f; var/lib/app d 750 105:105; tmp d 1777; usr/share/terminfo/N d; usr/share/terminfo/n d";
    assert_eq!(needs(layer, base), [""; 0]);
}

#[test]
fn what_is_run_as_somebody_else_or_is_no_file_needs_a_grant() {
    let layer = "usr/x f 4755; usr/y f 2755; usr/z f 755 +security.capability; usr/t d 2755; var/a c; var/b p; var/c s; opt/d w;\
        opt/e o; usr/f f +security.selinux +user.mime; usr/g f +system.posix_acl_access";
    let expected = [
        "setuid /usr/x",
        "setgid /usr/t",
        "setgid /usr/y",
        "capabilities /usr/z",
        "device /var/a",
        "fifo /var/b",
        "socket /var/c",
        "whiteout /opt/d",
        "opaque /opt/e",
        "attribute /usr/f",
        "attribute /usr/g",
    ];
    assert_eq!(needs(layer, ""), expected);
}

#[test]
fn owners_and_modes_of_the_system_are_roots() {
    let layer = "usr/a f 644 1000:0; opt/b f 755 1000:0; opt/c f 644 1000:0; usr/d f 666; usr/e f 664 0:50; var/f d 777; var/g d 1777; var/tmp d 1777";
    let expected = [
        "writable /usr/d",
        "writable /usr/e",
        "writable /var/f",
        "writable /var/g",
        "owner /opt/b",
        "owner /usr/a",
    ];
    assert_eq!(needs(layer, ""), expected);
    assert_eq!(needs("etc d 700; usr d", "etc d; usr d"), ["mode /etc"]);
}

#[test]
fn what_decides_who_may_do_what_is_masked_by_files_links_deletions_and_what_hides_it() {
    let masks = |layer: &str, ground: &str| {
        needs(layer, ground).iter().any(|line| line.starts_with("masks "))
    };
    for layer in [
        "etc/shadow f",
        "etc/pam.d w",
        "etc o",
        "usr/lib l/opt",
        "etc/sudoers.d/x l/tmp/x",
        "bin/su f",
        "usr/lib/layerctl/x f",
        "usr/lib/layerctl/layers/other/accounts f",
        "etc/systemd/system/service.d/x.conf f",
        "usr/lib/systemd/system/foo-.service.d/x f",
    ] {
        assert!(masks(layer, ""), "{layer}");
    }
    let base = "usr/lib/systemd/system/ssh.service f; usr/lib/udev/rules.d/50.rules f";
    for layer in [
        "etc/systemd/system/ssh.service l/dev/null",
        "usr/lib/systemd/system/ssh.service f",
        "etc/systemd/system/ssh.service.d/x.conf f",
        "usr/lib/udev/rules.d/50.rules f",
    ] {
        assert!(masks(layer, base), "{layer}");
        assert!(!masks(layer, ""), "{layer}");
    }
}

#[test]
fn links_in_place_of_directories_and_out_of_the_root_lead_elsewhere() {
    assert_eq!(
        needs("opt/x l../../x; opt/y l../y; opt/z l/../z; opt/q l/a/../q", ""),
        ["leads /opt/x", "leads /opt/z"]
    );
    assert_eq!(needs("opt/x l/tmp", "opt/x d"), ["leads /opt/x"]);
    assert_eq!(needs("var l/tmp", ""), ["leads /var"]);
}

#[test]
fn second_names_of_files_that_matter_are_told() {
    let layer = "usr/bin/sudo f7 755; usr/share/x f7 755; usr/a f8; usr/b f8";
    assert_eq!(
        needs(layer, ""),
        ["masks /usr/bin/sudo", "link /usr/bin/sudo", "link /usr/share/x"]
    );
}

#[test]
fn names_that_look_like_others_are_told() {
    assert_eq!(needs("usr/bin/VI f", "usr/bin/vi f"), ["name /usr/bin/VI"]);
    assert_eq!(needs("usr/bin/vi f; usr/bin/vI f", "usr/bin/vi f"), ["name /usr/bin/vI"]);
    assert_eq!(needs("usr/bin/ѕudo f", ""), ["name /usr/bin/ѕudo"]);
    assert_eq!(needs("opt/a\u{202e}b f", ""), ["name /opt/a\\u{202e}b"]);
    assert_eq!(needs("Etc d", "etc d"), ["name /Etc"]);
}

#[test]
fn what_nothing_makes_right_is_a_flaw() {
    let layers = [
        "/ d 700",
        "/ d 777",
        "/ d 1755",
        "usr/x f +trusted.overlay.redirect",
        "usr/x f +user.overlay.metacopy",
        "usr/x d +trusted.overlay.origin",
        "usr/x f +trusted.overlay.opaque",
        "usr/../etc f",
        "usr//x f",
    ];
    for layer in layers {
        assert_eq!(over(layer, "").flaws.len(), 1, "{layer}");
    }
    let odd = |path: &[u8]| Entry { path: path.to_vec(), ..entries("x f").remove(0) };
    let long = vec![b'x'; LONGEST_PATH + 1];
    for path in [b"usr/a\nb".as_slice(), b"usr/a\x1b[2Jb", b"usr/\xc2\x85", &long] {
        assert_eq!(judge("own", &[odd(path)], &Ground::new()).flaws.len(), 1, "{path:?}");
    }
    let twice = entries("usr d; usr/x d");
    let twice: Vec<Entry> = twice.into_iter().map(|entry| Entry { inode: 1, ..entry }).collect();
    assert_eq!(judge("own", &twice, &Ground::new()).flaws.len(), 1);
}

#[test]
fn a_grant_is_for_one_right_and_its_paths() {
    let judgement = over(
        "usr/bin/sudo f 4755; usr/bin/sudoedit lsudo; opt/a*b f 4755; opt/aXb f 4755; opt/a\\b f 4755",
        "",
    );
    let missing = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let grants = Grants::parse(&lines).unwrap();
        grants.missing(&judgement.needs).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let all = missing(&[]);
    assert_eq!(all.len(), 6);
    let copied: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(missing(&copied), [""; 0], "the lines as they are shown grant what they name");
    assert_eq!(missing(&["setuid /usr/**", "masks /usr/bin/sudo*", "setuid /opt/*"]), [""; 0]);
    assert_eq!(
        missing(&["setgid /usr/**", "setuid /opt/*", "masks /usr/bin/sudo*"]),
        ["setuid /usr/bin/sudo"]
    );
    assert_eq!(missing(&["setuid /opt/a\\x2ab", "masks /**", "setuid /usr/*"]).len(), 3);
}

#[test]
fn lines_that_grant_nothing_are_errors() {
    for line in ["", "setuid", "setuid usr/bin/x", "Setuid /x", "everything /", "setuid  /x"] {
        let error = Grants::parse(&[line.to_owned()]).unwrap_err();
        assert!(error.to_string().contains("is no grant"), "{error}");
    }
}

#[test]
fn the_document_lists_every_right() {
    let document = include_str!("../../../docs/grants.md");
    for right in Right::ALL {
        assert!(document.contains(&format!("| `{}` |", right.word())), "{}", right.word());
    }
}
