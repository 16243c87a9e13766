//! Names that are not what they look like.
//!
//! The letters that are taken for others are those of Unicode's table of confusables (UTS #39) that look like ASCII letters
//! in common fonts: Cyrillic, Greek, full width, and those with marks.

/// Characters that look like the ASCII one at their head.
const ALIKE: [(char, &str); 44] = [
    ('a', "аɑαàáâãäåāăą"),
    ('b', "Ьƅ"),
    ('c', "сϲçćĉċč"),
    ('d', "ԁďđ"),
    ('e', "еєèéêëēĕėęě"),
    ('f', "ſ"),
    ('g', "ɡցĝğġģ"),
    ('h', "һհĥħ"),
    ('i', "іıɩìíîïĩīĭįι"),
    ('j', "јϳĵ"),
    ('k', "кκķĸ"),
    ('l', "ӏⅼłļľŀ"),
    ('m', "мⅿ"),
    ('n', "ոпñńņňŋη"),
    ('o', "оοօᴏòóôõöøōŏő"),
    ('p', "рρ"),
    ('q', "ԛ"),
    ('r', "гŕŗř"),
    ('s', "ѕśŝşš"),
    ('t', "тτţťŧ"),
    ('u', "υսùúûüũūŭůűų"),
    ('v', "νѵⅴ"),
    ('w', "ԝωŵ"),
    ('x', "хχⅹ"),
    ('y', "уγýÿŷ"),
    ('z', "ᴢźżž"),
    ('a', "АΑÀÁÂÃÄÅĀĂĄ"),
    ('b', "ВΒ"),
    ('c', "СϹⅭÇĆĈĊČ"),
    ('e', "ЕΕÈÉÊËĒĔĖĘĚ"),
    ('h', "НΗ"),
    ('i', "ІΙÌÍÎÏ"),
    ('j', "Ј"),
    ('k', "КΚ"),
    ('m', "МΜⅯ"),
    ('n', "Ν"),
    ('o', "ОΟÒÓÔÕÖ"),
    ('p', "РΡ"),
    ('s', "ЅŚŜŞŠ"),
    ('t', "ТΤ"),
    ('x', "ХΧⅩ"),
    ('y', "УΥ"),
    ('-', "‐‑‒–—−﹣"),
    ('.', "․。"),
];

/// The longest run of a name's characters that is made comparable; the longest name of a file is shorter.
const LONGEST: usize = 1024;

/// Whether a character is not seen, or changes the order in which others are: the format characters (Cf) of zero width and of
/// writing direction, tags, variation selectors, and the separators of lines.
pub(super) fn is_hidden(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a name alone misleads: not UTF-8, with characters that are not seen, with blanks at its ends or others than the
/// usual one, or taken for an option.
pub(super) fn misleads(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return true };
    let odd =
        |character: char| is_hidden(character) || (character.is_whitespace() && character != ' ');
    name.chars().any(odd) || name.trim() != name || name.starts_with('-')
}

/// What a name looks like: in one case, without marks and what is not seen, with ASCII letters for those that look like
/// them. Names with one and the same look are hard to tell apart.
pub(super) fn look(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let seen = text.chars().take(LONGEST).filter(|&character| !is_dropped(character));
    seen.flat_map(|character| plain(character).to_lowercase()).collect()
}

/// A combining mark, a blank, or what is not seen.
fn is_dropped(character: char) -> bool {
    is_hidden(character)
        || character.is_whitespace()
        || matches!(character, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}')
}

fn plain(character: char) -> char {
    if character.is_ascii() {
        return character;
    }
    if let Some(ascii) = full_width(character) {
        return ascii;
    }
    let alike = ALIKE.iter().find(|(_, others)| others.contains(character));
    alike.map_or(character, |(ascii, _)| *ascii)
}

/// The ASCII character of one of full width (U+FF01 to U+FF5E).
fn full_width(character: char) -> Option<char> {
    let number = u32::from(character).checked_sub(0xff01).filter(|number| *number < 94)?;
    char::from_u32(number + 0x21)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_one_look() {
        for other in [
            "SUDO",
            "sudо",
            "ｓｕｄｏ",
            "su\u{200b}do",
            "su\u{301}do",
            "ѕudo",
            "śudo ",
            "su\u{ad}do",
        ] {
            assert_eq!(look(other.as_bytes()), "sudo", "{other:?}");
        }
        for other in ["sud0", "sudoo", "pseudo", "su-do"] {
            assert_ne!(look(other.as_bytes()), "sudo", "{other:?}");
        }
        assert_eq!(look("naïve".as_bytes()), look("nai\u{308}ve".as_bytes()));
    }

    #[test]
    fn names_that_mislead_are_told_from_strange_ones() {
        for bad in
            ["a\u{202e}b", "a\u{200b}", " a", "a ", "-rf", "a\u{a0}b", "\u{feff}a", "a\u{2028}"]
        {
            assert!(misleads(bad.as_bytes()), "{bad:?}");
        }
        assert!(misleads(b"a\xff"));
        for good in
            ["NetLock_Arany_=Class_Gold=_Főtanúsítvány.pem", "a b", "日本語", "a-b", "dev\\x2ddisk"]
        {
            assert!(!misleads(good.as_bytes()), "{good:?}");
        }
    }

    #[test]
    fn no_letter_stands_for_two() {
        let mut seen = std::collections::BTreeSet::new();
        for (ascii, others) in ALIKE {
            assert!(ascii.is_ascii());
            for other in others.chars() {
                assert!(!other.is_ascii() && seen.insert(other), "{other:?}");
            }
        }
    }
}
