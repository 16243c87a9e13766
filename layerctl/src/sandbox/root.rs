//! The root of a sandbox: an overlay of the lowers and the upper, with what a system needs that is not on disk.
//!
//! Mount points that the images lack, and the files that are put over theirs, come from a lower of our own on top of the
//! others (`aside`), so that none of them lands in the upper.

#![expect(clippy::disallowed_methods, reason = "makes mount points and mounts")]

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use layers::exec::Host;
use layers::host::LinuxHost;
use layers::plan::{Access, Overlay};
use layers::sys::{self, FsContext, KernelError};
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind,
    mount_change, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::{Bind, Lower, Sandbox, lookup};

/// Answers invoke-rc.d and deb-systemd-invoke, which ask before they start a service: forbidden (policy-rc.d's own
/// interface, of Debian's init-system-helpers).
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Where they look for it.
const POLICY_AT: &str = "/usr/sbin/policy-rc.d";

/// What of proc(5) sets the whole machine and asks for root alone, not for a capability.
const MACHINE: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Directories that are file systems of their own.
const VIRTUAL: [&str; 4] = ["dev", "proc", "run", "tmp"];

/// Devices that programs find, this machine's own.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What of this machine tells programs which host has which address.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Makes the root, in the mount namespace of this process alone, and enters it.
pub(super) fn enter(sandbox: &Sandbox) -> Result<(), String> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(at("make private", Path::new("/")))?;
    let place = Place::new(sandbox)?;
    let lowers = place.mount_lowers(sandbox)?;
    let aside = place.aside();
    let policy = place.work.join("policy-rc.d");
    fs::write(&policy, POLICY).map_err(at("write", &policy))?;
    fs::set_permissions(&policy, Permissions::from_mode(0o755))
        .map_err(at("set the mode of", &policy))?;
    let mut binds = vec![Bind { from: policy, to: POLICY_AT.into(), read_only: true }];
    if sandbox.network {
        let present = NAMES.into_iter().map(PathBuf::from).filter(|path| path.is_file());
        binds.extend(present.map(|path| Bind { from: path.clone(), to: path, read_only: true }));
    }
    binds.extend(sandbox.binds.iter().cloned());
    let binds = place.prepare(sandbox, &lowers, binds)?;

    let mut stack = vec![aside];
    stack.extend(lowers);
    let root = place.root();
    let overlay = volatile(&stack, sandbox, &place).map_err(at("mount overlay at", &root))?;
    sys::attach(&overlay, &root).map_err(at("mount at", &root))?;
    mount_virtual(&root)?;
    binds.iter().try_for_each(|bind| mount_one(&root, bind))?;
    chdir(&root).map_err(at("enter", &root))?;
    pivot_root(".", ".").map_err(at("change the root to", &root))?;
    unmount(".", UnmountFlags::DETACH).map_err(at("unmount the root before", Path::new("/")))?;
    chdir("/").map_err(at("enter", Path::new("/")))
}

/// The directories below the sandbox's work directory.
struct Place {
    work: PathBuf,
}

impl Place {
    /// Makes them, in place of those of an earlier run.
    fn new(sandbox: &Sandbox) -> Result<Self, String> {
        let work = &sandbox.work;
        let work = work.canonicalize().map_err(at("open", work))?;
        let place = Self { work };
        for directory in [place.aside(), place.overlay()] {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("remove", &directory)(error));
                }
                _ => fs::create_dir(&directory).map_err(at("create", &directory))?,
            }
        }
        fs::create_dir_all(place.root()).map_err(at("create", &place.root()))?;
        Ok(place)
    }

    fn aside(&self) -> PathBuf {
        self.work.join("aside")
    }

    fn overlay(&self) -> PathBuf {
        self.work.join("overlay")
    }

    fn root(&self) -> PathBuf {
        self.work.join("root")
    }

    /// Mounts or binds every lower below the work directory, where the kernel takes paths of at most 255 bytes.
    fn mount_lowers(&self, sandbox: &Sandbox) -> Result<Vec<PathBuf>, String> {
        let mut host = LinuxHost::new();
        let mut lowers = Vec::new();
        for (number, lower) in sandbox.lowers.iter().enumerate() {
            let to = self.work.join(format!("lower/{number}"));
            match lower {
                Lower::Image { path, format } => host.mount_image(path, *format, None, &to),
                Lower::Directory(path) => host.bind(path, &to, Access::ReadOnly),
            }
            .map_err(|error| error.to_string())?;
            lowers.push(to);
        }
        Ok(lowers)
    }

    /// Puts into `aside` what the images lack of mount points, and gives the binds with the places where links lead to.
    fn prepare(
        &self,
        sandbox: &Sandbox,
        lowers: &[PathBuf],
        binds: Vec<Bind>,
    ) -> Result<Vec<Bind>, String> {
        let view = self.root();
        let mut stack = vec![sandbox.upper.clone()];
        stack.extend(lowers.iter().cloned());
        let overlay = Overlay {
            source: "layerctl".into(),
            lowers: stack,
            data: Vec::new(),
            upper: None,
            at: view.clone(),
        };
        LinuxHost::new().mount_overlay(&overlay).map_err(|error| error.to_string())?;
        let mut aside = Aside { view: &view, top: self.aside(), copied: Vec::new() };
        aside.copy_directory(Path::new(""))?;
        for directory in VIRTUAL {
            aside.mount_point(Path::new(directory), true)?;
        }
        let mut settled = Vec::new();
        for bind in binds {
            let inside = bind.to.strip_prefix("/").unwrap_or(&bind.to);
            let first = inside.iter().next().unwrap_or_default();
            let to = match VIRTUAL.iter().any(|name| first == *name) {
                true => inside.to_owned(),
                false => aside.mount_point(inside, bind.from.is_dir())?,
            };
            settled.push(Bind { to, ..bind });
        }
        aside.settle_times()?;
        unmount(&view, UnmountFlags::empty()).map_err(at("unmount", &view))?;
        Ok(settled)
    }
}

/// A lower of our own on top of the images', whose directories are like theirs.
struct Aside<'a> {
    view: &'a Path,
    top: PathBuf,
    copied: Vec<PathBuf>,
}

impl Aside<'_> {
    /// Makes a mount point at `path` unless the images have it; gives where it is, links followed.
    fn mount_point(&mut self, path: &Path, directory: bool) -> Result<PathBuf, String> {
        let look = |path: &Path| lookup::resolve(self.view, path).map_err(at("look for", path));
        if let Some(found) = look(path)?
            && self.view.join(&found).is_dir() == directory
        {
            return Ok(found);
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let parent = match look(parent)? {
            Some(parent) => parent,
            None => self.mount_point(parent, true)?,
        };
        let to = parent.join(path.file_name().unwrap_or_default());
        let mut above: Vec<&Path> = to.ancestors().skip(1).collect();
        above.reverse();
        above.into_iter().try_for_each(|above| self.copy_directory(above))?;
        let made = self.top.join(&to);
        match directory {
            // Another mount point may be below it.
            true => fs::create_dir_all(&made),
            false => File::create(&made).map(drop),
        }
        .map_err(at("create", &made))?;
        Ok(to)
    }

    /// Makes a directory with the owner and mode that the images' own has, if they have it.
    fn copy_directory(&mut self, path: &Path) -> Result<(), String> {
        let to = self.top.join(path);
        if self.copied.iter().any(|copied| copied == path) {
            return Ok(());
        }
        match fs::create_dir(&to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at("create", &to)(error));
            }
            _ => {}
        }
        if let Ok(like) = fs::symlink_metadata(self.view.join(path)) {
            let mode = Permissions::from_mode(like.mode());
            chown(&to, Some(like.uid()), Some(like.gid()))
                .and_then(|()| fs::set_permissions(&to, mode))
                .map_err(at("set owner and mode of", &to))?;
            self.copied.push(path.to_owned());
        }
        Ok(())
    }

    /// A directory that is copied up keeps the time that the images' own has.
    fn settle_times(&self) -> Result<(), String> {
        self.copied.iter().rev().try_for_each(|path| {
            let to = self.top.join(path);
            fs::symlink_metadata(self.view.join(path))
                .and_then(|like| File::open(&to)?.set_modified(like.modified()?))
                .map_err(at("set the time of", &to))
        })
    }
}

/// The overlay, which writes nothing to disk before it has to: an upper that a crash left is not used.
fn volatile(
    lowers: &[PathBuf],
    sandbox: &Sandbox,
    place: &Place,
) -> Result<std::os::fd::OwnedFd, KernelError> {
    let context = FsContext::open("overlay")?;
    context.set("source", "layerctl")?;
    for lower in lowers {
        context.set_path("lowerdir+", lower)?;
    }
    context.set_path("upperdir", &sandbox.upper)?;
    context.set_path("workdir", &place.overlay())?;
    for (key, value) in
        [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"), ("xino", "off")]
    {
        context.set(key, value)?;
    }
    context.flag("volatile")?;
    context.mount(MountAttrFlags::MOUNT_ATTR_NODEV)
}

fn mount_virtual(root: &Path) -> Result<(), String> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV;
    let new = |kind: &str, path: &str, flags: MountFlags, options: &str| {
        let to = root.join(path);
        fs::create_dir_all(&to).map_err(at("create", &to))?;
        let options = std::ffi::CString::new(options).unwrap_or_default();
        mount(kind, &to, kind, flags, options.as_c_str()).map_err(at("mount at", &to))
    };
    new("proc", "proc", safe | MountFlags::NOEXEC, "")?;
    MACHINE.iter().try_for_each(|name| protect(&root.join("proc").join(name)))?;
    new("tmpfs", "run", safe, "mode=0755")?;
    new("tmpfs", "tmp", safe, "mode=1777")?;
    new("tmpfs", "dev", MountFlags::NOSUID | MountFlags::NOEXEC, "mode=0755,size=1m")?;
    for (path, mode) in [("dev/shm", 0o1777), ("run/lock", 0o1777)] {
        let path = root.join(path);
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .map_err(at("create", &path))?;
    }
    new("devpts", "dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, "newinstance,ptmxmode=0666")?;
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ];
    let dev = root.join("dev");
    for (target, name) in links {
        symlink(target, dev.join(name)).map_err(at("create", &dev.join(name)))?;
    }
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        File::create(&to).map_err(at("create", &to))?;
        mount_bind(&from, &to).map_err(at("bind", &from))?;
    }
    Ok(())
}

/// Makes what is at `path` read-only, if it is there.
fn protect(path: &Path) -> Result<(), String> {
    if !path.exists() {
        return Ok(());
    }
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_bind(path, path)
        .and_then(|()| mount_remount(path, flags | MountFlags::NOEXEC, c""))
        .map_err(at("make read-only", path))
}

fn mount_one(root: &Path, bind: &Bind) -> Result<(), String> {
    let to = root.join(&bind.to);
    let made = match (fs::symlink_metadata(&to).is_ok(), bind.from.is_dir()) {
        (true, _) => Ok(()),
        (false, true) => fs::create_dir_all(&to),
        (false, false) => to
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| File::create(&to).map(drop)),
    };
    made.map_err(at("create", &to))?;
    mount_bind(&bind.from, &to).map_err(at("bind", &bind.from))?;
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, bind.read_only);
    mount_remount(&to, flags, c"").map_err(at("bind", &bind.from))
}

fn at<E: std::fmt::Display>(doing: &'static str, path: &Path) -> impl Fn(E) -> String {
    move |error| format!("{doing} {}: {error}", path.display())
}
