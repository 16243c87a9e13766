//! Carries a decision out on the copy of an upper: one action, one call.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, mknodat, renameat_with, statat};

use super::super::copy::{below, set_owner_and_mode};
use super::super::xattr::{Xattrs, clear_opaque};
use crate::etc::decide::Action;
use crate::exec::HostError;

/// Carries out all actions, in order.
pub(super) fn apply(actions: &[Action], upper: &Path, new: &Path) -> Result<(), HostError> {
    let mut xattrs = Xattrs::default();
    actions.iter().try_for_each(|action| {
        let (doing, path, done) = match action {
            Action::Remove(path) => ("remove", path, remove(&upper.join(path))),
            Action::TakeAttributes(path) => {
                let (from, to) = (below(new, path), below(upper, path));
                ("copy attributes of", path, take_attributes(&from, &to, &mut xattrs))
            }
            Action::ClearOpaque(path) => ("show", path, clear_opaque(&below(upper, path))),
            Action::SetAside { from, to } => {
                ("keep aside", from, set_aside(&upper.join(from), &upper.join(to)))
            }
            Action::Whiteout(path) => ("hide", path, whiteout(&upper.join(path))),
        };
        done.map_err(|error| HostError::io(doing, &below(upper, path), error))
    })
}

/// A directory is empty by now; if it is not, its entries are not to go.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir(path),
        other => other,
    }
}

fn take_attributes(from: &Path, to: &Path, xattrs: &mut Xattrs) -> io::Result<()> {
    let stat = statat(CWD, from, AtFlags::SYMLINK_NOFOLLOW)?;
    set_owner_and_mode(to, &stat)?;
    xattrs.replace(from, to)
}

/// Never over anything: the name was free when it was chosen.
fn set_aside(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

fn whiteout(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)?)
}
