//! The way out of the initramfs: mounts are moved into the new root, the initramfs is emptied, init is started.
//!
//! Whatever can be checked is checked by [`check`] before the first step, while another candidate can still be tried.

use std::{
    convert::Infallible,
    ffi::{CString, OsString},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{chdir, chroot, execvp},
};
use sys_mount::{Mount, MountFlags};

pub mod empty;
pub mod program;

/// The mounts that the new root takes over.
pub const MOVED: [&str; 4] = ["proc", "sys", "dev", "run"];

/// Why the new root cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no program to start.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// The new root lacks a directory that a mount is moved to.
    #[error("the root has no directory /{directory}")]
    NoDirectory {
        /// Its name.
        directory: &'static str,
    },
    /// A mount could not be moved.
    #[error("cannot move the mount {from} to {to}: {source}")]
    Move {
        /// Where it is.
        from: PathBuf,
        /// Where it should be.
        to: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A system call on the new root failed.
    #[error("cannot make {path} the root ({call}): {source}")]
    Enter {
        /// The new root.
        path: PathBuf,
        /// The system call.
        call: &'static str,
        /// What it answered.
        source: Errno,
    },
    /// init did not start; the initramfs is gone by then.
    #[error("cannot start {program}: {source}")]
    Exec {
        /// The program in the new root.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Checks that the new root at `root` can be entered; the program to start, as a path inside it.
///
/// `requested` is the command line's `init=`.
pub fn check(root: &Path, requested: Option<&Path>) -> Result<PathBuf, Error> {
    for directory in MOVED {
        program::open(root, Path::new(directory), OFlag::O_DIRECTORY)
            .map_err(|_| Error::NoDirectory { directory })?;
    }
    Ok(program::find(root, requested)?)
}

/// Enters the new root at `root` and starts `init` with `arguments`; comes back only when that failed.
///
/// /proc, /sys, /dev and /run go along; the environment stays. Where a mount could not be moved, those moved before it
/// are moved back, and the caller may try another candidate; not so after [`Error::Enter`] and [`Error::Exec`].
/// `entered` is called in the new root, before init is started.
pub fn hand_over(
    root: &Path,
    init: &Path,
    arguments: impl IntoIterator<Item = OsString>,
    entered: impl FnOnce(),
) -> Result<Infallible, Error> {
    let entering = |call| move |source| Error::Enter { path: root.to_owned(), call, source };
    let old_root = nix::fcntl::open(
        "/",
        OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .map_err(entering("open"))?;
    move_into(root)?;
    chdir(root).map_err(entering("chdir"))?;
    move_mount(Path::new("."), Path::new("/"))?;
    chroot(".").map_err(entering("chroot"))?;
    chdir("/").map_err(entering("chdir"))?;
    // What can't be deleted costs memory, not the boot.
    let _ = empty::empty(old_root);
    entered();
    let Err(source) = execute(init, arguments);
    Err(Error::Exec { program: init.to_owned(), source })
}

/// Signals are as the kernel gave them to PID 1: nothing of this program changes their dispositions or the mask.
fn execute(
    init: &Path,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Infallible, io::Error> {
    let program = CString::new(init.as_os_str().as_bytes())?;
    let mut words = vec![program.clone()];
    for argument in arguments {
        words.push(CString::new(argument.into_vec())?);
    }
    Ok(execvp(&program, &words)?)
}

fn move_into(root: &Path) -> Result<(), Error> {
    for (index, name) in MOVED.iter().enumerate() {
        let moved = move_mount(&Path::new("/").join(name), &root.join(name));
        if moved.is_err() {
            for name in MOVED.iter().take(index) {
                move_mount(&root.join(name), &Path::new("/").join(name))?;
            }
            return moved;
        }
    }
    Ok(())
}

/// Moves a mount, with all that is mounted on it.
pub(crate) fn move_mount(from: &Path, to: &Path) -> Result<(), Error> {
    // The type means nothing to a move, but sys-mount would otherwise look for one in /proc, which may have moved.
    Mount::builder()
        .fstype("none")
        .flags(MountFlags::MOVE)
        .mount(from, to)
        .map(drop)
        .map_err(|source| Error::Move { from: from.to_owned(), to: to.to_owned(), source })
}
