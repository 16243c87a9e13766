//! Console output without terminal control sequences.

/// Takes a console's bytes as they come and gives their plain text.
#[derive(Debug, Default)]
pub(super) struct Plain {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In `ESC [ … letter`.
    Control,
    /// In `ESC ] … BEL` or `ESC ] … ESC \`, and the other strings of ECMA-48.
    String,
}

impl Plain {
    /// The plain text of the next bytes; a sequence may be cut anywhere between two calls.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> String {
        let kept: Vec<u8> = bytes.iter().copied().filter(|&byte| self.keep(byte)).collect();
        String::from_utf8_lossy(&kept).into_owned()
    }

    fn keep(&mut self, byte: u8) -> bool {
        const ESC: u8 = 0x1b;
        const BEL: u8 = 0x07;
        let (next, kept) = match (self.state, byte) {
            (_, ESC) => (State::Escape, false),
            (State::Text, b'\n' | b'\t') => (State::Text, true),
            (State::Text, byte) => (State::Text, byte >= 0x20 && byte != 0x7f),
            (State::Escape, b'[') => (State::Control, false),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (State::String, false),
            // Intermediate bytes stand before the last one, as in `ESC ( B`.
            (State::Escape, 0x20..=0x2f) => (State::Escape, false),
            (State::Escape, _) => (State::Text, false),
            (State::Control, 0x40..=0x7e) => (State::Text, false),
            (State::Control, _) => (State::Control, false),
            (State::String, BEL) => (State::Text, false),
            (State::String, _) => (State::String, false),
        };
        self.state = next;
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        let cases: [(&[u8], &str); 5] = [
            (b"a\r\nb\tc", "a\nb\tc"),
            (b"\x1b[0;32m  OK  \x1b[0m] x", "  OK  ] x"),
            (b"\x1b[!p\x1b]104\x07\x1b[?7hlogin", "login"),
            (b"\x1b]0;title\x1b\\text\x1b(B.", "text."),
            ("grün ●".as_bytes(), "grün ●"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Plain::default().feed(bytes), text);
        }
    }

    #[test]
    fn a_sequence_may_be_cut() {
        let mut plain = Plain::default();
        let text: String = b"a\x1b[0;1mb".iter().map(|byte| plain.feed(&[*byte])).collect();
        assert_eq!(text, "ab");
    }
}
