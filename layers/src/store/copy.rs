//! Copies of trees: content, owner, mode, times, extended attributes (ACLs among them), hard links, whiteouts, opaque
//! marks. Few system calls an entry: a boot waits for them.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Advice, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid,
    chmodat, chownat, fadvise, fchmod, fchown, fstat, futimens, ioctl_ficlone, linkat, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};

use super::xattr::{ABOUT_LOWERS, At, Marks, OF_ONE_STACK, Xattrs};
use crate::exec::HostError;

/// Files up to this size are read and written in one piece; larger ones are cloned, or copied by the kernel.
const SMALL: usize = 64 << 10;

/// How many entries of a directory are approached at once.
const AHEAD: usize = 64;

/// Where the first of several hard links was copied to, by device and inode.
pub type Links = HashMap<(u64, u64), PathBuf>;

/// One entry that was met on a way through a tree.
pub(super) struct Found {
    /// Its path, relative to the top; empty for the top itself.
    pub(super) path: PathBuf,
    /// The place of its directory in the list.
    pub(super) parent: Option<usize>,
    /// Its attributes.
    pub(super) stat: Stat,
    /// What OverlayFS marked it with.
    pub(super) marks: Marks,
}

impl Found {
    fn look(here: Here<'_>, path: PathBuf, parent: Option<usize>) -> io::Result<Self> {
        let stat = statat(here.directory, here.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Self { path, parent, stat, marks: Marks::default() })
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Copies a file or a whole tree, without what OverlayFS notes about the lowers; nothing may be at `to`.
pub fn copy_tree(from: &Path, to: &Path, links: &mut Links) -> Result<(), HostError> {
    copy_all(from, to, links).map(drop)
}

/// Copies a tree and lists what is in it, directories before their entries.
pub(super) fn copy_all(from: &Path, to: &Path, links: &mut Links) -> Result<Vec<Found>, HostError> {
    let mut copier = Copier {
        to,
        links,
        xattrs: Xattrs::default(),
        content: vec![0; SMALL],
        sources: VecDeque::new(),
        directory: None,
        usual: None,
    };
    let mut found = walk(from, &mut copier)?;
    // Deepest first, after their entries: making an entry changes its directory's times, and a default ACL would be
    // given on to what is made in it.
    for entry in found.iter_mut().rev().filter(|entry| entry.kind() == FileType::Directory) {
        let from = below(from, &entry.path);
        let done = copier.finish(&from, &entry.path, &entry.stat);
        entry.marks = done.map_err(|error| HostError::io("copy attributes of", &from, error))?;
    }
    Ok(found)
}

/// Where a walk is: an entry by its directory and name, and by its whole path.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) path: &'a Path,
}

/// What is done with the entries of a tree.
pub(super) trait Visit {
    /// Called for [`AHEAD`] entries before the first of them is visited.
    fn approach(&mut self, _here: Here<'_>, _entry: &Found) -> io::Result<()> {
        Ok(())
    }

    /// Called for each entry; gives its marks.
    fn visit(&mut self, here: Here<'_>, entry: &Found) -> io::Result<Marks>;
}

impl<F: FnMut(Here<'_>, &Found) -> io::Result<Marks>> Visit for F {
    fn visit(&mut self, here: Here<'_>, entry: &Found) -> io::Result<Marks> {
        self(here, entry)
    }
}

/// Goes through a tree, directories before their entries, and gives all that it met with their marks.
pub(super) fn walk(top: &Path, visit: &mut dyn Visit) -> Result<Vec<Found>, HostError> {
    let failed = |path: &Path, error: io::Error| HostError::io("copy", path, error);
    let name =
        CString::new(top.as_os_str().as_bytes()).map_err(|error| failed(top, error.into()))?;
    let mut found: Vec<Found> = Vec::new();
    let here = Here { directory: CWD, name: &name, path: top };
    let mut entry = Found::look(here, PathBuf::new(), None).map_err(|e| failed(top, e))?;
    entry.marks = visit.visit(here, &entry).map_err(|e| failed(top, e))?;
    // A stack of its own: an upper may be deeper than PID 1's stack allows.
    let mut todo = if entry.kind() == FileType::Directory { vec![0] } else { Vec::new() };
    found.push(entry);
    while let Some(place) = todo.pop() {
        let inside = found.get(place).map(|entry| entry.path.clone()).unwrap_or_default();
        let directory = below(top, &inside);
        let (open, names) =
            read_directory(&directory).map_err(|error| failed(&directory, error))?;
        for names in names.chunks(AHEAD) {
            let first = found.len();
            let paths = names.iter().map(|name| directory.join(OsStr::from_bytes(name.as_bytes())));
            let paths: Vec<PathBuf> = paths.collect();
            for (name, path) in names.iter().zip(&paths) {
                let here = Here { directory: open.as_fd(), name, path };
                let inside = inside.join(OsStr::from_bytes(name.as_bytes()));
                let entry = Found::look(here, inside, Some(place)).map_err(|e| failed(path, e))?;
                visit.approach(here, &entry).map_err(|e| failed(path, e))?;
                found.push(entry);
            }
            let met = found.iter_mut().enumerate().skip(first);
            for ((name, path), (place, entry)) in names.iter().zip(&paths).zip(met) {
                let here = Here { directory: open.as_fd(), name, path };
                entry.marks = visit.visit(here, entry).map_err(|e| failed(path, e))?;
                if entry.kind() == FileType::Directory {
                    todo.push(place);
                }
            }
        }
    }
    Ok(found)
}

/// A path below a top; the top itself, without a slash behind it, for the empty path.
pub(super) fn below(top: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { top.to_owned() } else { top.join(path) }
}

/// A directory's names, sorted, and the directory itself, open.
pub(super) fn read_directory(path: &Path) -> io::Result<(OwnedFd, Vec<CString>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = openat(CWD, path, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&open)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok((open, names))
}

/// What the copying of one tree needs for each entry.
struct Copier<'a> {
    to: &'a Path,
    links: &'a mut Links,
    xattrs: Xattrs,
    content: Vec<u8>,
    /// Files that were approached and will be copied, by inode.
    sources: VecDeque<(u64, File)>,
    /// The directory that entries are made in, by the place of its original in the walk.
    directory: Option<(usize, OwnedFd)>,
    /// Owner and mode that a new file has here if it asks for all permissions. Nobody sees it: while entries are made,
    /// directories are 0700.
    usual: Option<Stat>,
}

impl Visit for Copier<'_> {
    /// Opens files and has the kernel read them: a disk then works on many at once, instead of one while we wait.
    fn approach(&mut self, from: Here<'_>, entry: &Found) -> io::Result<()> {
        let small = u64::try_from(entry.stat.st_size).is_ok_and(|size| size <= SMALL as u64);
        if entry.kind() == FileType::RegularFile && entry.stat.st_nlink == 1 && small {
            let source = open(from)?;
            // It is advice: where it is not taken, the file is read later.
            let _ = fadvise(&source, 0, None, Advice::WillNeed);
            self.sources.push_back((entry.stat.st_ino, source));
        }
        Ok(())
    }

    fn visit(&mut self, from: Here<'_>, entry: &Found) -> io::Result<Marks> {
        self.copy(from, entry)
    }
}

impl Copier<'_> {
    /// Copies one entry; a directory gets its attributes from [`Copier::finish`].
    fn copy(&mut self, from: Here<'_>, entry: &Found) -> io::Result<Marks> {
        let to = below(self.to, &entry.path);
        let stat = &entry.stat;
        let kind = entry.kind();
        if kind == FileType::Directory {
            mkdirat(CWD, &to, Mode::RWXU)?;
            return Ok(Marks::default());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                linkat(CWD, first, CWD, &to, AtFlags::empty())?;
                return self.xattrs.marks(&to);
            }
            self.links.insert((stat.st_dev, stat.st_ino), to.clone());
        }
        if kind == FileType::RegularFile {
            return self.file(from, entry, &to);
        }
        if kind == FileType::Symlink {
            symlinkat(readlinkat(from.directory, from.name, Vec::new())?, CWD, &to)?;
        } else {
            mknodat(CWD, &to, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
        }
        let (user, group) = owner(stat);
        chownat(CWD, &to, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != FileType::Symlink {
            chmodat(CWD, &to, mode(stat), AtFlags::empty())?;
        }
        let marks = self.xattrs.copy(At::Path(from.path), At::Path(&to), &ABOUT_LOWERS)?;
        utimensat(CWD, &to, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(marks)
    }

    fn file(&mut self, from: Here<'_>, entry: &Found, to: &Path) -> io::Result<Marks> {
        let stat = &entry.stat;
        let mut source = match self.sources.pop_front_if(|(inode, _)| *inode == stat.st_ino) {
            Some((_, source)) => source,
            None => open(from)?,
        };
        let mut target = self.create(from, entry, to)?;
        self.content(&mut source, &mut target, u64::try_from(stat.st_size).unwrap_or(0))?;
        let (open, copy) = (At::Open(source.as_fd()), At::Open(target.as_fd()));
        let marks = self.xattrs.copy(open, copy, &ABOUT_LOWERS)?;
        futimens(&target, &times(stat))?;
        Ok(marks)
    }

    /// Makes a file with its owner and mode, where it can in one call.
    fn create(&mut self, from: Here<'_>, entry: &Found, to: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let stat = &entry.stat;
        let (Some(place), Some(above)) = (entry.parent, to.parent()) else {
            let file = File::from(openat(CWD, to, flags, Mode::RUSR | Mode::WUSR)?);
            give(&file, stat)?;
            return Ok(file);
        };
        let directory = match self.directory.take() {
            Some((open, directory)) if open == place => directory,
            _ => openat(
                CWD,
                above,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?,
        };
        let wanted = stat.st_mode & 0o7777;
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let (asked, as_made) = match &self.usual {
            None => (all, false),
            Some(usual) => {
                let same = (usual.st_uid, usual.st_gid) == (stat.st_uid, stat.st_gid);
                // The umask takes nothing away from it, and there are no bits that chown(2) would take.
                let plain = wanted & !(usual.st_mode & 0o777) == 0;
                (if plain { mode(stat) } else { Mode::RUSR | Mode::WUSR }, plain && same)
            }
        };
        let file = File::from(openat(&directory, from.name, flags, asked)?);
        if self.usual.is_none() {
            self.usual = Some(fstat(&file)?);
        }
        if !as_made {
            give(&file, stat)?;
        }
        self.directory = Some((place, directory));
        Ok(file)
    }

    fn content(&mut self, source: &mut File, target: &mut File, size: u64) -> io::Result<()> {
        if size > SMALL as u64 {
            // Shares the blocks where the file system can (btrfs, xfs).
            if ioctl_ficlone(&*target, &*source).is_err() {
                io::copy(source, target)?;
            }
            return Ok(());
        }
        let mut done = 0;
        while done < size {
            let length = source.read(&mut self.content)?;
            if length == 0 {
                break;
            }
            target.write_all(self.content.get(..length).unwrap_or_default())?;
            done += length as u64;
        }
        Ok(())
    }

    /// Gives a directory its attributes.
    fn finish(&mut self, from: &Path, path: &Path, stat: &Stat) -> io::Result<Marks> {
        let to = below(self.to, path);
        copy_attributes(from, &to, stat, &mut self.xattrs, &ABOUT_LOWERS)
    }
}

/// Gives the directory `to` the attributes of `from`, but for what OverlayFS noted of the lowers there.
pub(super) fn copy_directory(from: &Path, to: &Path) -> Result<(), HostError> {
    statat(CWD, from, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(io::Error::from)
        .and_then(|stat| copy_attributes(from, to, &stat, &mut Xattrs::default(), &OF_ONE_STACK))
        .map(drop)
        .map_err(|error| HostError::io("copy attributes of", from, error))
}

/// Opens a file to read it. Not blocked by what another program may have put there since.
fn open(at: Here<'_>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(at.directory, at.name, flags, Mode::empty())?))
}

/// Owner first: chown(2) takes setuid bits away.
fn give(file: &File, stat: &Stat) -> io::Result<()> {
    let (user, group) = owner(stat);
    fchown(file, user, group)?;
    Ok(fchmod(file, mode(stat))?)
}

/// Gives a directory owner, mode, extended attributes but the named ones, and times of another.
fn copy_attributes(
    from: &Path,
    to: &Path,
    stat: &Stat,
    xattrs: &mut Xattrs,
    without: &[&str],
) -> io::Result<Marks> {
    set_owner_and_mode(to, stat)?;
    let marks = xattrs.copy(At::Path(from), At::Path(to), without)?;
    utimensat(CWD, to, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(marks)
}

/// Owner first: chown(2) takes setuid bits away. For anything but a symbolic link.
pub(super) fn set_owner_and_mode(to: &Path, stat: &Stat) -> io::Result<()> {
    let (user, group) = owner(stat);
    chownat(CWD, to, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(chmodat(CWD, to, mode(stat), AtFlags::empty())?)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// The permission bits, with set-user-ID, set-group-ID and the sticky bit.
pub(super) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    // Nanoseconds are below a thousand million, whatever their type.
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}
