//! Evil layers by their names, links and sizes, one a row.

use super::case::{Case, How, Says, case};
use How::{Erofs, Name, Patched, Squashfs};
use Says::{Grant, Nothing};

/// Names, links and sizes.
pub(super) const NAMES: [Case; 27] = [
    case(
        "link in place of a directory",
        Squashfs,
        "rm -r usr/share; ln -s /tmp usr/share",
        Grant("leads /usr/share"),
    ),
    case("link in place of /var", Erofs, "ln -s /tmp var", Grant("leads /var")),
    case(
        "climbing link",
        Squashfs,
        "mkdir opt; ln -s ../../../../etc/shadow opt/x",
        Grant("leads /opt/x"),
    ),
    case(
        "climbing absolute link",
        Erofs,
        "mkdir opt; ln -s /../../etc opt/x",
        Grant("leads /opt/x"),
    ),
    case("link for /home", Squashfs, "ln -s . home", Grant("leads /home")),
    case(
        "second name of a setuid program",
        Erofs,
        "echo x >usr/bin/x; chmod 4755 usr/bin/x; mkdir opt; ln usr/bin/x opt/x",
        Grant("link /opt/x"),
    ),
    case(
        "second name of a protected file",
        Squashfs,
        "mkdir etc; echo x >etc/shadow; ln etc/shadow usr/share/doc/x",
        Grant("link /usr/share/doc/x"),
    ),
    case("case of a program", Squashfs, "echo x >usr/bin/VI", Grant("name /usr/bin/VI")),
    case(
        "case of a sibling",
        Erofs,
        "mkdir opt; echo x >opt/x; echo x >opt/X",
        Grant("name /opt/X"),
    ),
    case("case of /etc", Squashfs, "mkdir Etc; echo x >Etc/shadow", Grant("name /Etc")),
    case("Cyrillic letter", Erofs, "echo x >usr/bin/\u{455}udo", Grant("name /usr/bin/\u{455}udo")),
    case(
        "full width",
        Squashfs,
        "echo x >usr/bin/\u{ff56}\u{ff49}",
        Grant("name /usr/bin/\u{ff56}\u{ff49}"),
    ),
    case(
        "decomposed marks",
        Erofs,
        "mkdir opt; echo x >opt/e\u{301}; echo x >opt/\u{e9}",
        Grant("name /opt/\u{e9}"),
    ),
    case(
        "writing direction",
        Squashfs,
        "mkdir opt; echo x >opt/a\u{202e}gpj.sh",
        Grant("name /opt/a\\u{202e}gpj.sh"),
    ),
    case("zero width", Erofs, "echo x >usr/bin/su\u{200b}do", Grant("name /usr/bin/su\\u{200b}do")),
    case("blank at the end", Squashfs, "echo x >'usr/bin/vi '", Grant("name /usr/bin/vi ")),
    case("option", Erofs, "mkdir opt; echo x >./opt/-rf", Grant("name /opt/-rf")),
    case("bytes that are no UTF-8", Name(b"x\xff\xfe"), "", Grant("name /usr/bin/x\\xff\\xfe")),
    case(
        "setuid with a name that is no UTF-8",
        Name(b"s\xff"),
        "true",
        Grant("name /usr/bin/s\\xff"),
    ),
    case("newline", Name(b"a\nb"), "", Nothing("a name with control characters")),
    case("escape sequence", Name(b"a\x1b[2Jb"), "", Nothing("a name with control characters")),
    case(
        "control character of Latin 1",
        Name("a\u{9b}b".as_bytes()),
        "",
        Nothing("a name with control characters"),
    ),
    case("name of two dots", Patched(b"QQ", b".."), "echo x >usr/bin/QQ", Nothing("")),
    case("name with a slash", Patched(b"QxxQ", b"a/xQ"), "echo x >usr/bin/QxxQ", Nothing("")),
    case(
        "very many names",
        Erofs,
        "mkdir -p opt/m; cd opt/m; seq 16385 | xargs touch",
        Grant("huge /opt/m"),
    ),
    case(
        "very deep",
        Squashfs,
        "p=opt; for i in $(seq 50); do p=$p/d; done; mkdir -p $p; echo x >$p/x",
        Grant("deep "),
    ),
    case(
        "deeper than a path may be",
        Erofs,
        "n=$(printf '%0250d' 0); p=$n; for i in $(seq 15); do p=$p/$n; done; mkdir -p $p",
        Nothing("too long"),
    ),
];
