//! Files and directories that are put into a tree.

#![expect(clippy::disallowed_methods, reason = "writes into trees")]

use std::fs;
use std::io;
use std::path::Path;

use layers::store::tree;

use super::PutFile;
use crate::error::Error;

/// Puts a file or directory of this machine into a tree; it belongs to root there.
pub(super) fn put_file(file: &PutFile, tree: &Path) -> Result<(), Error> {
    let inside = file.to.strip_prefix("/").unwrap_or(&file.to);
    let to = tree.join(inside);
    make_parents(tree, inside)?;
    match fs::symlink_metadata(&to) {
        Ok(there) if !there.is_dir() => {
            fs::remove_file(&to).map_err(|error| Error::io("replace", &to, error))?;
        }
        _ => {}
    }
    tree::copy_tree(&file.from, &to, &mut tree::Links::new())?;
    let failed = |error| Error::io("set owner and mode of", &to, error);
    std::os::unix::fs::lchown(&to, Some(0), Some(0)).or_else(unprivileged).map_err(failed)?;
    if let Some(mode) = file.mode {
        set_mode(&to, mode).map_err(failed)?;
    }
    Ok(())
}

/// Without root, packing gives all files to root.
fn unprivileged(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Writes a file into a tree, with the directories above it, whatever the umask is.
pub(super) fn write_into(tree: &Path, inside: &Path, text: &[u8]) -> Result<(), Error> {
    make_parents(tree, inside)?;
    let path = tree.join(inside);
    fs::write(&path, text)
        .and_then(|()| set_mode(&path, 0o644))
        .map_err(|error| Error::io("write", &path, error))
}

fn make_parents(tree: &Path, inside: &Path) -> Result<(), Error> {
    let mut above: Vec<&Path> = inside.ancestors().skip(1).collect();
    above.reverse();
    above.into_iter().try_for_each(|above| make_directory(&tree.join(above)))
}

/// Makes a directory that everybody may enter, unless it is there.
pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    match fs::create_dir(path).and_then(|()| set_mode(path, 0o755)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("create", path, error))
        }
        _ => Ok(()),
    }
}
