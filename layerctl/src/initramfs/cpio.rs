//! Writes cpio archives in the "new" portable format, as the kernel unpacks them (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! The same entries always give the same bytes: owner and group 0, time 0, inode numbers by position.

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A regular file with this content.
    File(Vec<u8>),
    /// A character device: major and minor number.
    CharacterDevice(u32, u32),
}

/// A file of more than 4 GiB, which the format cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} is too long for a cpio archive: {length} bytes, at most 4294967295 are possible")]
pub(crate) struct TooLong {
    /// The entry.
    pub(crate) path: String,
    /// Its length in bytes.
    pub(crate) length: usize,
}

/// An archive that grows by entries; a directory comes before what is in it.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Appends an entry. `path` is relative, without a slash at either end; `permissions` are the lowest 12 bits of the mode.
    pub(crate) fn append(
        &mut self,
        path: &str,
        permissions: u32,
        kind: &Kind,
    ) -> Result<(), TooLong> {
        self.entries += 1;
        let (file_type, links, content, device): (_, _, &[u8], _) = match kind {
            Kind::Directory => (DIRECTORY, 2, &[], (0, 0)),
            Kind::File(content) => (REGULAR, 1, content, (0, 0)),
            Kind::CharacterDevice(major, minor) => (CHARACTER_DEVICE, 1, &[], (*major, *minor)),
        };
        let too_long = |_| TooLong { path: path.to_owned(), length: content.len() };
        let length = u32::try_from(content.len()).map_err(too_long)?;
        self.header(self.entries, file_type | permissions, links, length, device, path);
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    /// The whole archive, ended by its trailer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.header(0, 0, 1, 0, (0, 0), TRAILER);
        self.bytes
    }

    fn header(
        &mut self,
        inode: u32,
        mode: u32,
        links: u32,
        length: u32,
        (major, minor): (u32, u32),
        name: &str,
    ) {
        let name_length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [inode, mode, 0, 0, links, 0, length, 0, 0, major, minor, name_length, 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    // Names (with the header before them) and contents each end at a multiple of 4.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.append("dev", 0o755, &Kind::Directory).unwrap();
        archive.append("dev/console", 0o600, &Kind::CharacterDevice(5, 1)).unwrap();
        archive.append("init", 0o755, &Kind::File(b"#!/bin/sh\n".to_vec())).unwrap();
        archive.append("odd", 0o644, &Kind::File(vec![7; 4097])).unwrap();
        archive.append("empty", 0o644, &Kind::File(vec![])).unwrap();
        archive.finish()
    }

    fn cpio(arguments: &[&str], directory: &std::path::Path) -> String {
        let mut cpio = Command::new("cpio")
            .args(arguments)
            .current_dir(directory)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&archive()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn cpio_lists_what_was_put_in() {
        let listing = cpio(&["-itv", "--quiet", "--numeric-uid-gid"], std::path::Path::new("/"));
        let lines: Vec<String> = listing
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 2 0 0 0 Jan 1 1970 dev",
                "crw------- 1 0 0 5, 1 Jan 1 1970 dev/console",
                "-rwxr-xr-x 1 0 0 10 Jan 1 1970 init",
                "-rw-r--r-- 1 0 0 4097 Jan 1 1970 odd",
                "-rw-r--r-- 1 0 0 0 Jan 1 1970 empty",
            ]
        );
    }

    #[test]
    fn cpio_unpacks_the_same_bytes() {
        let directory = tempfile::TempDir::new().unwrap();
        cpio(&["-i", "--quiet", "init", "odd", "empty"], directory.path());
        assert_eq!(fs::read(directory.path().join("init")).unwrap(), b"#!/bin/sh\n");
        assert_eq!(fs::read(directory.path().join("odd")).unwrap(), vec![7; 4097]);
        assert_eq!(fs::read(directory.path().join("empty")).unwrap(), b"");
    }
}
