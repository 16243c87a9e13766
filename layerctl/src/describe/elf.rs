//! What a program or library asks of shared libraries and what it is to others, from its dynamic section and its symbol
//! versions (System V ABI chapter 5; the GNU extensions as in glibc's elf.h). A damaged file says as much as can be read.

use object::elf::{DT_NEEDED, DT_SONAME, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionTable};
use object::{Endianness, FileKind, ReadRef, StringTable};

/// The bytes that every ELF file begins with.
pub(super) const MAGIC: &[u8; 4] = b"\x7fELF";

/// The soname of the GNU C library.
pub(super) const LIBC: &str = "libc.so.6";

/// The most versions that are read of one file: the C library defines about fifty, and a damaged table could repeat one
/// for ever.
const VERSIONS_MAX: usize = 4096;

/// One file's links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileLinks {
    /// `DT_SONAME`.
    pub(super) soname: Option<String>,
    /// `DT_NEEDED`, and the symbol versions that it needs: (library, version).
    pub(super) needed: Vec<String>,
    /// The symbol versions that it needs: library and version.
    pub(super) versions_needed: Vec<(String, String)>,
    /// The symbol versions that it defines.
    pub(super) versions: Vec<String>,
    /// Whether it has a dynamic section at all.
    pub(super) dynamic: bool,
}

/// Reads a file's links; one that is no ELF file for this purpose has none.
pub(super) fn links<'data, R: ReadRef<'data>>(data: R) -> FileLinks {
    let mut links = FileLinks::default();
    // A part that cannot be read leaves out what is in it, and in what comes after.
    let _ = match FileKind::parse(data) {
        Ok(FileKind::Elf64) => read::<FileHeader64<Endianness>, R>(data, &mut links),
        Ok(FileKind::Elf32) => read::<FileHeader32<Endianness>, R>(data, &mut links),
        _ => Ok(()),
    };
    links
}

fn read<'data, Elf, R>(data: R, links: &mut FileLinks) -> object::Result<()>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let table = sections.dynamic_table(endian, data)?;
    links.dynamic = !table.is_empty();
    for entry in &table {
        match entry.tag {
            DT_NEEDED => links.needed.push(text(table.string(entry)?)),
            DT_SONAME => links.soname = Some(text(table.string(entry)?)),
            _ => {}
        }
    }
    versions(endian, data, &sections, links)
}

fn versions<'data, Elf, R>(
    endian: Endianness,
    data: R,
    sections: &SectionTable<'data, Elf, R>,
    links: &mut FileLinks,
) -> object::Result<()>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    if let Some((mut files, strings)) = sections.gnu_verneed(endian, data)? {
        let strings: StringTable<'data, R> = sections.strings(endian, data, strings)?;
        while let Some((file, mut versions)) = files.next()? {
            let library = text(file.file(endian, strings)?);
            while let Some(version) = versions.next()? {
                if links.versions_needed.len() == VERSIONS_MAX {
                    return Ok(());
                }
                let version = text(version.name(endian, strings)?);
                links.versions_needed.push((library.clone(), version));
            }
        }
    }
    if let Some((mut definitions, strings)) = sections.gnu_verdef(endian, data)? {
        let strings: StringTable<'data, R> = sections.strings(endian, data, strings)?;
        while let Some((_, mut names)) = definitions.next()? {
            // The first name is the version's own, the others are those that it follows.
            if let Some(name) = names.next()? {
                links.versions.push(text(name.name(endian, strings)?));
            }
            if links.versions.len() == VERSIONS_MAX {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Names come from files that anybody may have made, and go into a manifest and onto a terminal.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_real_program_needs_the_c_library() {
        let links = links(fs::read("/bin/ls").unwrap().as_slice());
        assert!(links.dynamic && links.soname.is_none());
        assert!(links.needed.iter().any(|name| name == LIBC), "{links:?}");
        let glibc = |(library, version): &(String, String)| {
            library == LIBC && version.starts_with("GLIBC_2.")
        };
        assert!(links.versions_needed.iter().any(glibc), "{links:?}");
    }

    #[test]
    fn a_real_library_says_its_name_and_versions() {
        let path = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6"];
        let library = path.iter().find_map(|path| fs::read(path).ok()).unwrap();
        let links = links(library.as_slice());
        assert_eq!(links.soname.as_deref(), Some(LIBC));
        assert!(links.versions.iter().any(|version| version == "GLIBC_2.34"), "{links:?}");
    }

    #[test]
    fn what_has_no_dynamic_section_has_no_links() {
        for bytes in [fs::read("/bin/busybox").unwrap(), b"#!/bin/sh\n".to_vec(), Vec::new()] {
            assert_eq!(links(bytes.as_slice()), FileLinks::default());
        }
    }

    #[test]
    fn damage_is_no_panic() {
        let whole = fs::read("/bin/true").unwrap();
        for length in (0..whole.len()).step_by(97) {
            links(&whole[..length]);
        }
        // Each byte of the header, of the section headers and of all the rest in steps.
        let sections = whole.len().saturating_sub(64 * 64);
        for place in (0..64).chain(sections..whole.len()).chain((64..sections).step_by(13)) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= flip;
                links(bytes.as_slice());
            }
        }
    }
}
