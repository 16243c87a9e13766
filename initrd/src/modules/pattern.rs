//! Shell patterns as modules.alias has them: `*`, `?` and `[…]`; `-` and `_` are the same, as for modprobe(8).

/// Whether the whole of `text` matches `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    // Where to go on when what follows the last star does not fit: the star takes one byte more.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        if let Some((pattern_rest, text_rest)) = one(pattern, text) {
            (pattern, text) = (pattern_rest, text_rest);
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        let Some((after_star, [_, longer @ ..])) = retry else {
            return false;
        };
        retry = Some((after_star, longer));
        (pattern, text) = (after_star, longer);
    }
}

/// Takes one byte of the text by one element of the pattern that is no star; what is left of both.
fn one<'p, 't>(pattern: &'p [u8], text: &'t [u8]) -> Option<(&'p [u8], &'t [u8])> {
    let (&byte, text) = text.split_first()?;
    let (&element, mut pattern) = pattern.split_first()?;
    let fits = match element {
        b'?' => true,
        b'[' => {
            let (set, rest) = bracket(pattern)?;
            pattern = rest;
            in_set(set, byte)
        }
        literal => dashless(literal) == dashless(byte),
    };
    fits.then_some((pattern, text))
}

/// Splits what follows `[` at its `]`; one that comes first is a member.
fn bracket(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = 1 + pattern.get(1..)?.iter().position(|&byte| byte == b']')?;
    Some((pattern.get(..end)?, pattern.get(end + 1..)?))
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let (negated, mut set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    while let Some((&low, rest)) = set.split_first() {
        let high = match rest {
            [b'-', high, after @ ..] => {
                set = after;
                *high
            }
            _ => {
                set = rest;
                low
            }
        };
        found |= (low..=high).contains(&byte);
    }
    found != negated
}

fn dashless(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_of_real_aliases() {
        for (pattern, text, expected) in [
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000008v00001AF4", false),
            (
                "pci:v*d*sv*sd*bc01sc08i02*",
                "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02",
                true,
            ),
            (
                "pci:v*d*sv*sd*bc01sc08i02*",
                "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00",
                false,
            ),
            (
                "pci:v00008086d*sv*sd*bc01sc06i01*",
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
                true,
            ),
            ("scsi:t-0x00*", "scsi:t-0x00", true),
            ("scsi:t-0x00*", "scsi:t-0x05", false),
            (
                "usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*",
                "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00",
                true,
            ),
            ("usb:v054Cp0010d0[1-4]*", "usb:v054Cp0010d0310", true),
            ("usb:v054Cp0010d0[1-4]*", "usb:v054Cp0010d0510", false),
            ("x[!a-c]z", "xdz", true),
            ("x[!a-c]z", "xbz", false),
            ("x[]]z", "x]z", true),
            ("dm-verity", "dm_verity", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("[", "[", false),
            ("a[b", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic_and_a_text_matches_itself(
            pattern in "[ab*?\\[\\]!-]{0,12}", text in "[ab:_-]{0,12}",
        ) {
            matches(&pattern, &text);
            prop_assert!(matches(&text, &text));
            let open_ended = text.clone() + "*";
            prop_assert!(matches(&open_ended, &text));
            prop_assert!(matches("*", &text));
        }
    }
}
