//! Extended attributes as they follow an inode. Pure.
//!
//! Source: Linux 6.12 `fs/erofs/erofs_fs.h`, `struct erofs_xattr_ibody_header` and `struct erofs_xattr_entry`.

/// Bytes before the first attribute.
const HEADER: usize = 12;

/// Attributes begin at multiples of this.
const UNIT: usize = 4;

/// The beginnings of names that have a number (`EROFS_XATTR_INDEX_*`), and whether more may follow.
const NAMES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The bytes of attributes, by name and value; empty of none. None where a name or value is none that EROFS can have.
pub(crate) fn encode(attributes: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    if attributes.is_empty() {
        return Some(Vec::new());
    }
    let mut bytes = vec![0; HEADER];
    for (name, value) in attributes {
        let (start, number) = NAMES.iter().find(|(start, _)| name.starts_with(start))?;
        let rest = name.get(start.len()..)?;
        // The rest of a name that ends in a dot is what tells it apart; the others are whole.
        if start.ends_with(b".") == rest.is_empty() {
            return None;
        }
        bytes.extend([u8::try_from(rest.len()).ok()?, *number]);
        bytes.extend(u16::try_from(value.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
    }
    count(&bytes).map(|_| bytes)
}

/// What an inode says of the length of its attributes (`i_xattr_icount`); none where they are too long for it.
pub(super) fn count(bytes: &[u8]) -> Option<u16> {
    match bytes.len().checked_sub(HEADER) {
        None => Some(0),
        Some(rest) => u16::try_from(rest / UNIT + 1).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers_and_entries_are_padded() {
        let bytes = encode(&[(b"user.a", b"12"), (b"system.posix_acl_access", b"")]).unwrap();
        assert_eq!(bytes[..HEADER], [0; HEADER]);
        assert_eq!(bytes[HEADER..], [1, 1, 2, 0, b'a', b'1', b'2', 0, 0, 2, 0, 0]);
        assert_eq!(count(&bytes), Some(4));
        assert_eq!((encode(&[]).unwrap(), count(&[])), (Vec::new(), Some(0)));
    }

    #[test]
    fn what_erofs_cannot_have_is_none() {
        let long = vec![0; 70_000];
        let name = [b"user.".to_vec(), vec![b'n'; 256]].concat();
        for (name, value) in [
            (b"system.other".as_slice(), b"".as_slice()),
            (b"system.posix_acl_access2", b""),
            (b"trusted.", b""),
            (b"user.long", &long),
            (&name, b""),
        ] {
            assert_eq!(encode(&[(name, value)]), None, "{}", String::from_utf8_lossy(name));
        }
        let big = vec![0; 60_000];
        let many: Vec<(&[u8], &[u8])> = vec![(b"user.x", &big); 5];
        assert_eq!(encode(&many), None, "more than 256 KiB");
    }
}
