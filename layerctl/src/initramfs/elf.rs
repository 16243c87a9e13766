//! Whether a program needs nothing beside itself (ELF-64, System V ABI chapter 5): an initramfs has no libraries.

const MAGIC: &[u8; 4] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const INTERPRETER: u32 = 3;
const PROGRAM_HEADER: usize = 56;

/// What a file is, as far as starting it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// A program that needs nothing else.
    Static,
    /// A program that the dynamic linker must load.
    Dynamic,
    /// No 64-bit ELF file, or a damaged one.
    Unknown,
}

/// Looks for a program header that asks for an interpreter.
pub(super) fn program(bytes: &[u8]) -> Program {
    match wants_interpreter(bytes) {
        Some(true) => Program::Dynamic,
        Some(false) => Program::Static,
        None => Program::Unknown,
    }
}

fn wants_interpreter(bytes: &[u8]) -> Option<bool> {
    let [class, order] = *bytes.get(4..)?.first_chunk::<2>()?;
    if bytes.first_chunk::<4>()? != MAGIC || class != CLASS_64 || order != LITTLE_ENDIAN {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(*bytes.get(32..)?.first_chunk()?)).ok()?;
    let length = usize::from(u16::from_le_bytes(*bytes.get(54..)?.first_chunk()?));
    let count = usize::from(u16::from_le_bytes(*bytes.get(56..)?.first_chunk()?));
    if length != PROGRAM_HEADER {
        return None;
    }
    let headers = bytes.get(table..)?.get(..length * count)?;
    let kind = |header: &[u8]| header.first_chunk().map(|kind| u32::from_le_bytes(*kind));
    Some(headers.chunks_exact(length).any(|header| kind(header) == Some(INTERPRETER)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn real_programs_are_told_apart() {
        assert_eq!(program(&fs::read("/bin/ls").unwrap()), Program::Dynamic);
        assert_eq!(program(&fs::read("/bin/busybox").unwrap()), Program::Static);
        assert_eq!(program(b"#!/bin/sh\n"), Program::Unknown);
    }

    #[test]
    fn a_program_cut_short_is_unknown() {
        let bytes = fs::read("/bin/ls").unwrap();
        for length in [0, 3, 5, 40, 57, 100] {
            assert_eq!(program(&bytes[..length]), Program::Unknown, "{length}");
        }
    }
}
