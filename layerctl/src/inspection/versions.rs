//! The order of packages' versions.

use std::cmp::Ordering;

/// Compares two versions as dpkg does (deb-version(7)): epoch, then what comes before the last hyphen, then the rest. RPM's
/// order differs in corners that versions of one package do not meet.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let epochs = one.0.cmp(&other.0);
    epochs.then_with(|| part(one.1, other.1)).then_with(|| part(one.2, other.2))
}

/// Epoch, upstream version, revision.
fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Text and numbers by turns; a tilde is before the end, letters are before all else.
fn part(mut one: &str, mut other: &str) -> Ordering {
    loop {
        let (text, number, rest) = run(one);
        let (text_other, number_other, rest_other) = run(other);
        let order = by_characters(text, text_other).then_with(|| {
            let (a, b) = (number.trim_start_matches('0'), number_other.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        });
        if order.is_ne() || (rest.is_empty() && rest_other.is_empty()) {
            return order;
        }
        (one, other) = (rest, rest_other);
    }
}

/// The text and the number that a version begins with, and what comes after.
fn run(version: &str) -> (&str, &str, &str) {
    let digits = version.find(|c: char| c.is_ascii_digit()).unwrap_or(version.len());
    let (text, rest) = version.split_at(digits);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    (text, number, rest)
}

fn by_characters(one: &str, other: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => (0, '~'),
        None => (1, ' '),
        Some(letter) if letter.is_ascii_alphabetic() => (2, letter),
        Some(mark) => (3, mark),
    };
    let (mut one, mut other) = (one.chars(), other.chars());
    loop {
        let (a, b) = (one.next(), other.next());
        let order = rank(a).cmp(&rank(b));
        if order.is_ne() || (a.is_none() && b.is_none()) {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_dpkg() {
        // From deb-version(7), and real ones.
        let rising = [
            "0.9",
            "1.0~rc1-1",
            "1.0~rc1-2",
            "1.0-1~bpo1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb13u1",
            "1.0-2",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.9",
            "1.10",
            "1:0.1",
        ];
        for pair in rising.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for same in [("1.0", "1.00"), ("0:1", "1"), ("1.0-0", "1.0"), ("", "")] {
            assert_eq!(compare(same.0, same.1), Ordering::Equal, "{same:?}");
        }
    }
}
