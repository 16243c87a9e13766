//! Patterns for paths: `*` and `?` inside of a name, `**` as a whole name for any number of directories.

/// Whether a pattern matches a whole path; both have their slashes alike.
pub(super) fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, path) = (split(pattern), split(path));
    walk(&pattern, &path)
}

/// Whether something that a pattern matches may lie below a directory.
pub(super) fn matches_below(pattern: &[u8], directory: &[u8]) -> bool {
    let (pattern, directory) = (split(pattern), split(directory));
    for (place, name) in directory.iter().enumerate() {
        match pattern.get(place) {
            Some(&b"**") => return true,
            Some(one) if matches_name(one, name) => {}
            _ => return false,
        }
    }
    pattern.len() > directory.len()
}

fn split(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/').collect()
}

/// Quadratic in the number of directories: each step back goes to the last `**` alone.
fn walk(pattern: &[&[u8]], path: &[&[u8]]) -> bool {
    let any = |name: &&[u8]| *name == b"**";
    greedy(pattern, path, any, |one, name| matches_name(one, name))
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    greedy(pattern, name, |&byte| byte == b'*', |&one, &byte| one == b'?' || one == byte)
}

/// Matches a sequence against one in which some elements stand for any number of them.
fn greedy<P, T>(
    pattern: &[P],
    text: &[T],
    any: impl Fn(&P) -> bool,
    one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while let Some(element) = text.get(seen) {
        match pattern.get(at) {
            Some(wild) if any(wild) => {
                last = Some((at, seen));
                at += 1;
            }
            Some(wanted) if one(wanted, element) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((wild, from)) = last else { return false };
                last = Some((wild, from + 1));
                (at, seen) = (wild + 1, from + 1);
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_inside_of_names_and_double_stars_do_not() {
        let yes = [
            ("/usr/bin/*", "/usr/bin/sudo"),
            ("/usr/*bin/su", "/usr/sbin/su"),
            ("/usr/*bin/su", "/usr/bin/su"),
            ("/usr/**", "/usr/a/b/c"),
            ("/**/x", "/a/b/x"),
            ("/**/x", "/x"),
            ("/usr/**/libc.so.?", "/usr/lib/x86_64/libc.so.6"),
            ("/a/**/b/**/c", "/a/b/b/x/c"),
            ("/usr/bin/a*b*c", "/usr/bin/axxbxbxc"),
        ];
        for (pattern, path) in yes {
            assert!(matches(pattern.as_bytes(), path.as_bytes()), "{pattern} {path}");
        }
        let no = [
            ("/usr/bin/*", "/usr/bin/a/b"),
            ("/usr/bin/*", "/usr/bin"),
            ("/usr/bin/su", "/usr/bin/sudo"),
            ("/**/x", "/a/xx"),
            ("/usr/?", "/usr/"),
        ];
        for (pattern, path) in no {
            assert!(!matches(pattern.as_bytes(), path.as_bytes()), "{pattern} {path}");
        }
    }

    #[test]
    fn what_may_lie_below_a_directory_is_known_by_the_beginning_of_a_pattern() {
        let below = |pattern: &str, path: &str| matches_below(pattern.as_bytes(), path.as_bytes());
        assert!(below("etc/pam.d/**", "etc") && below("etc/pam.d/**", "etc/pam.d"));
        assert!(below("usr/lib*/**/libc.so.6", "usr/lib64/x/y"));
        assert!(!below("etc/shadow", "etc/shadow") && !below("etc/shadow", "usr"));
    }

    #[test]
    fn a_pattern_of_many_stars_is_matched_in_no_time() {
        let pattern = "*a".repeat(200);
        let path = "a".repeat(199) + "b";
        assert!(!matches(pattern.as_bytes(), path.as_bytes()));
        let deep = "/a".repeat(2000) + "/b";
        assert!(!matches("/**/a".repeat(100).as_bytes(), deep.as_bytes()));
    }
}
