//! Fields of on-disk structures: integers, identifiers and labels out of byte ranges that may be too short.

/// The `N` bytes at `offset`, or nothing where `data` ends before them.
pub(super) fn bytes<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk::<N>().copied()
}

/// The byte at `offset`.
pub(super) fn byte(data: &[u8], offset: usize) -> Option<u8> {
    data.get(offset).copied()
}

/// The little-endian 16-bit integer at `offset`.
pub(super) fn le16(data: &[u8], offset: usize) -> Option<u16> {
    bytes(data, offset).map(u16::from_le_bytes)
}

/// The little-endian 32-bit integer at `offset`.
pub(super) fn le32(data: &[u8], offset: usize) -> Option<u32> {
    bytes(data, offset).map(u32::from_le_bytes)
}

/// The little-endian 64-bit integer at `offset`.
pub(super) fn le64(data: &[u8], offset: usize) -> Option<u64> {
    bytes(data, offset).map(u64::from_le_bytes)
}

/// The big-endian 16-bit integer at `offset`.
pub(super) fn be16(data: &[u8], offset: usize) -> Option<u16> {
    bytes(data, offset).map(u16::from_be_bytes)
}

/// The big-endian 32-bit integer at `offset`.
pub(super) fn be32(data: &[u8], offset: usize) -> Option<u32> {
    bytes(data, offset).map(u32::from_be_bytes)
}

/// A UUID as blkid prints it, lower case with hyphens; an all-zero one counts as none.
pub(super) fn uuid(raw: [u8; 16]) -> Option<String> {
    (raw != [0; 16]).then(|| hyphenated(raw))
}

/// A GUID of GPT (first three groups little-endian, UEFI specification appendix A) as blkid prints it.
pub(super) fn guid(raw: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = raw;
    let [i, j, k, l, m, n, o, p] = rest;
    hyphenated([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

/// A label as blkid prints it: up to the first NUL, without white space at its end; an empty one counts as none.
pub(super) fn label(raw: &[u8]) -> Option<String> {
    let end = raw.iter().position(|&byte| byte == 0).unwrap_or(raw.len());
    let text = String::from_utf8_lossy(raw.get(..end)?);
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

fn hyphenated(raw: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (position, byte) in raw.into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_printed_in_order_and_a_guid_with_its_first_groups_swapped() {
        let raw: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap() + 0xa0);
        assert_eq!(uuid(raw).unwrap(), "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
        assert_eq!(guid(raw), "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf");
        assert_eq!(uuid([0; 16]), None);
    }

    #[test]
    fn a_label_ends_at_nul_or_trailing_space() {
        for (raw, expected) in [
            (&b"state\0junk"[..], Some("state")),
            (b"two words   ", Some("two words")),
            (b"full", Some("full")),
            (b"", None),
            (b"\0after", None),
            (b"   \0", None),
        ] {
            assert_eq!(label(raw).as_deref(), expected);
        }
    }

    #[test]
    fn a_field_beyond_the_end_is_none() {
        assert_eq!(le32(&[1, 2, 3], 0), None);
        assert_eq!(le16(&[1, 2], usize::MAX), None);
        assert_eq!(le64(&[1, 0, 0, 0, 0, 0, 0, 0], 0), Some(1));
        assert_eq!(be32(&[0, 0, 1, 0], 0), Some(256));
    }
}
