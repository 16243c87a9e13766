//! Deletes the initramfs, which lies in memory, once nothing looks at it any more; as switch_root(8) of util-linux does.

use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::{
        stat::{Mode, SFlag, fstat, fstatat},
        statfs::{FsType, TMPFS_MAGIC, fstatfs},
    },
    unistd::{UnlinkatFlags, unlinkat},
};

// linux/magic.h; neither libc nor nix has it.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Why a directory was not emptied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not lie in memory, so it is no initramfs, and nothing in it was touched.
    #[error("the old root is no initramfs; nothing in it was deleted")]
    NotInMemory,
    /// Something could not be deleted; everything else has been.
    #[error("cannot empty the initramfs: {0}")]
    Left(#[from] Errno),
}

/// Deletes everything in `directory` that is on its own file system, which must be ramfs or tmpfs.
pub fn empty(directory: OwnedFd) -> Result<(), Error> {
    let kind = fstatfs(&directory)?.filesystem_type();
    if kind != RAMFS_MAGIC && kind != TMPFS_MAGIC {
        return Err(Error::NotInMemory);
    }
    let device = fstat(&directory)?.st_dev;
    Ok(empty_directory(Dir::from_fd(directory)?, device)?)
}

/// Goes on after an error; the first one is returned.
fn empty_directory(mut directory: Dir, device: u64) -> Result<(), Errno> {
    // Names first: deleting while reading may skip entries.
    let names: Vec<CString> = directory
        .iter()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_owned()))
        .filter(|name| !matches!(name.as_bytes(), b"." | b".."))
        .collect();
    let mut result = Ok(());
    for name in names {
        result = result.and(delete(&directory, &name, device));
    }
    result
}

fn delete(parent: &Dir, name: &CString, device: u64) -> Result<(), Errno> {
    let status = fstatat(parent.as_fd(), name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if status.st_dev != device {
        return Ok(());
    }
    if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
        return unlinkat(parent.as_fd(), name.as_c_str(), UnlinkatFlags::NoRemoveDir);
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let directory = Dir::openat(parent.as_fd(), name.as_c_str(), flags, Mode::empty())?;
    let emptied = empty_directory(directory, device);
    match unlinkat(parent.as_fd(), name.as_c_str(), UnlinkatFlags::RemoveDir) {
        // A mount point inside it, or what an error before has left.
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => emptied,
        other => emptied.and(other),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make trees")]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    #[test]
    fn a_tree_in_memory_is_emptied_and_links_are_not_followed() {
        let outside = tempfile::TempDir::new_in("/dev/shm").unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let tree = tempfile::TempDir::new_in("/dev/shm").unwrap();
        let path = tree.path();
        fs::create_dir_all(path.join("lib/modules/6")).unwrap();
        fs::write(path.join("lib/modules/6/x.ko"), "x").unwrap();
        fs::write(path.join("init"), "x").unwrap();
        symlink(outside.path(), path.join("link")).unwrap();
        assert_eq!(empty(open(path)), Ok(()));
        assert_eq!(fs::read_dir(path).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn a_tree_on_disk_is_never_emptied() {
        let tree = tempfile::TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        fs::write(tree.path().join("kept"), "").unwrap();
        assert_eq!(empty(open(tree.path())), Err(Error::NotInMemory));
        assert!(tree.path().join("kept").exists());
    }
}
