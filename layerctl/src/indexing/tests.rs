//! An index shows what a plain stack of the same images shows.

use std::collections::BTreeMap;
use std::fs::{self, FileTimes, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use layers::exec::Host;
use layers::host::LinuxHost;
use layers::plan::Overlay;
use layers::superblock::Format;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{
    CWD, FileType, Mode, XattrFlags, lgetxattr, llistxattr, lsetxattr, makedev, mknodat,
};

use rustix::mount::{MountPropagationFlags, mount_change};

use super::merge::merge;
use crate::erofs;

/// A tree that becomes an image.
struct Tree(PathBuf);

impl Tree {
    fn new(place: &Path, name: &str) -> Self {
        let tree = Self(place.join(name));
        fs::create_dir(&tree.0).unwrap();
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        fs::write(self.path(path), text).unwrap();
        self
    }

    fn directory(&self, path: &str) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    fn node(&self, path: &str, kind: FileType, device: u64) -> &Self {
        mknodat(CWD, self.path(path), kind, Mode::RUSR, device).unwrap();
        self
    }

    fn whiteout(&self, path: &str) -> &Self {
        self.node(path, FileType::CharacterDevice, 0)
    }

    fn attribute(&self, path: &str, name: &str, value: &[u8]) -> &Self {
        lsetxattr(self.path(path), name, value, XattrFlags::empty()).unwrap();
        self
    }

    fn image(&self, format: Format) -> PathBuf {
        let image = self.0.with_extension("img");
        let mut command = match format {
            Format::Squashfs => Command::new("mksquashfs"),
            Format::Erofs => Command::new("mkfs.erofs"),
        };
        match format {
            Format::Squashfs => command.arg(&self.0).arg(&image).args(["-quiet", "-no-progress"]),
            Format::Erofs => command.args(["--quiet", "-zlz4"]).arg(&image).arg(&self.0),
        };
        let made = command.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        image
    }
}

/// ACL_USER_OBJ rwx, ACL_USER 1000 r-x, ACL_GROUP_OBJ r-x, ACL_MASK r-x, ACL_OTHER r-x (acl(5)).
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255,
    255, 255, 16, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
];

/// VFS_CAP_REVISION_2 with CAP_NET_RAW (capabilities(7)).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn base(place: &Path) -> Tree {
    let tree = Tree::new(place, "base");
    tree.file("usr/bin/tool", "tool of base")
        .file("usr/bin/ping", "ping")
        .attribute("usr/bin/ping", "security.capability", &CAPABILITY)
        .file("etc/empty", "")
        .file("etc/plain", "plain")
        .file("usr/share/large", &"large ".repeat(50_000))
        .file("usr/share/one", "a file with two names")
        .file("usr/share/gone", "gone")
        .file("usr/share/opaque/same", "of base")
        .file("usr/share/opaque/deep/same", "of base")
        .file("usr/share/shut/same", "of base")
        .file("usr/share/again/same", "of base")
        .file("usr/share/becomes-file/x", "x")
        .file("usr/share/becomes-directory", "x")
        .file("usr/share/merged/of-base", "of base")
        .file("usr/share/marked/gone", "gone")
        .file("usr/share/marked/stays", "stays")
        .directory("usr/share/none")
        .node("dev/null", FileType::CharacterDevice, makedev(1, 3))
        .node("dev/disk", FileType::BlockDevice, makedev(300, 70_000))
        .node("run/pipe", FileType::Fifo, 0)
        .node("run/socket", FileType::Socket, 0);
    symlink("usr/bin", tree.path("bin")).unwrap();
    symlink("x".repeat(4050), tree.path("long")).unwrap();
    fs::hard_link(tree.path("usr/share/one"), tree.path("usr/share/two")).unwrap();
    fs::hard_link(tree.path("usr/share/one"), tree.path("usr/lib/three")).unwrap();
    fs::set_permissions(tree.path("usr/bin/tool"), Permissions::from_mode(0o4750)).unwrap();
    chown(tree.path("etc/plain"), Some(65_534), Some(1_000_000)).unwrap();
    for number in 0..700 {
        let name =
            format!("{}{number}-{}", ["+", "-", "n", "z"][number % 4], "x".repeat(number % 90));
        tree.file(&format!("usr/share/many/{name}"), &"y".repeat(number));
    }
    tree
}

fn first(place: &Path) -> Tree {
    let tree = Tree::new(place, "first");
    tree.file("usr/bin/tool", "tool of the first layer")
        .file("usr/bin/first", "first")
        .attribute("usr/bin/first", "user.note", b"of a layer")
        .whiteout("usr/share/gone")
        .directory("usr/share/merged")
        .attribute("usr/share/merged", "system.posix_acl_access", &ACL)
        .attribute("usr/share/merged", "system.posix_acl_default", &ACL)
        .file("usr/share/merged/of-first", "of first")
        .file("usr/share/opaque/same", "of first")
        .file("usr/share/opaque/deep/same", "of first")
        .attribute("usr/share/opaque", "trusted.overlay.opaque", b"y")
        .file("usr/share/becomes-file", "a file")
        .file("usr/share/becomes-directory/x", "x of first")
        .whiteout("usr/share/again")
        .directory("usr/share/shut")
        .attribute("usr/share/shut", "trusted.overlay.opaque", b"y")
        .file("usr/share/marked/gone", "")
        .attribute("usr/share/marked/gone", "trusted.overlay.whiteout", b"y")
        .attribute("usr/share/marked", "trusted.overlay.opaque", b"x");
    let precise = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let file = OpenOptions::new().write(true).open(tree.path("usr/bin/first")).unwrap();
    file.set_times(FileTimes::new().set_modified(precise)).unwrap();
    tree
}

fn second(place: &Path) -> Tree {
    let tree = Tree::new(place, "second");
    tree.file("usr/share/again/same", "of second")
        .file("usr/share/shut/other", "other")
        .file("usr/share/merged/of-second", "of second")
        .file("usr/share/many/new", "new")
        .file("usr/share/two", "no longer a second name")
        .file("opt/second/data", &"second ".repeat(9_000))
        .attribute("opt/second", "trusted.note", b"kept");
    fs::set_permissions(tree.path("usr/share/merged"), Permissions::from_mode(0o1777)).unwrap();
    tree
}

/// All that can be seen of a tree but the size of directories, which each file system counts in its own way. Names of one file
/// share a number, which is its first name's place.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut seen, mut numbers) = (BTreeMap::new(), BTreeMap::new());
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => {
                let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap());
                let mut entries: Vec<_> =
                    entries.map(|entry| (entry.path(), entry.file_type().unwrap())).collect();
                entries.sort_by(|a, b| b.0.cmp(&a.0));
                todo.extend(entries.iter().map(|(path, _)| path.clone()));
                let kinds = entries.iter().map(|(path, kind)| (path.file_name(), kind));
                format!("{:?}", kinds.collect::<Vec<_>>())
            }
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            kind if kind.is_file() => format!("{:?}", fs::read_to_string(&path).unwrap()),
            _ => String::new(),
        };
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        let place = path.strip_prefix(root).unwrap().to_owned();
        let file = numbers.entry((metadata.dev(), metadata.ino())).or_insert_with(|| place.clone());
        let said = format!(
            "{:o} {} {} links {} device {} size {size} time {}.{} file {} {:?} {content}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.nlink(),
            metadata.rdev(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            file.display(),
            attributes(&path),
        );
        seen.insert(place, said);
    }
    seen
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut room = vec![0; 1 << 16];
    let length = llistxattr(path, &mut room).unwrap();
    let names = room[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            (std::ffi::OsStr::from_bytes(name).to_string_lossy().into_owned(), value)
        })
        .collect()
}

/// What is done in a mount namespace of its own, which a thread may have.
fn privately<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Mounts images, bottom first, below `place`.
fn mounted(host: &mut LinuxHost, place: &Path, images: &[(PathBuf, Format)]) -> Vec<PathBuf> {
    let mount = |(number, (image, format)): (usize, &(PathBuf, Format))| {
        let at = place.join(format!("mounted-{number}"));
        host.mount_image(image, *format, None, &at).unwrap();
        at
    };
    images.iter().enumerate().map(mount).collect()
}

fn overlay(host: &mut LinuxHost, lowers: Vec<PathBuf>, data: Vec<PathBuf>, at: &Path) {
    let source = "layerctl:test".to_owned();
    host.mount_overlay(&Overlay { source, lowers, data, upper: None, at: at.to_owned() }).unwrap();
}

#[test]
fn an_index_shows_all_that_a_plain_stack_shows() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let images = [
        (base(place).image(Format::Squashfs), Format::Squashfs),
        (first(place).image(Format::Erofs), Format::Erofs),
        (second(place).image(Format::Squashfs), Format::Squashfs),
    ];
    let (plain, indexed) = privately(|| {
        let mut host = LinuxHost::new();
        let at = mounted(&mut host, place, &images);
        let merged = merge(&at.iter().map(PathBuf::as_path).collect::<Vec<_>>()).unwrap();
        let bytes = erofs::image(&merged.nodes, &merged.parents, 0, [7; 16]).unwrap();
        let again = merge(&at.iter().map(PathBuf::as_path).collect::<Vec<_>>()).unwrap();
        assert!(erofs::image(&again.nodes, &again.parents, 0, [7; 16]).unwrap() == bytes);
        let image = place.join("index.img");
        fs::write(&image, bytes).unwrap();
        let checked = Command::new("fsck.erofs").arg(&image).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");

        // The base has most files, but all that lies over it comes first.
        let data = merged.order.data();
        assert_eq!(data, [2, 1, 0]);
        let index = place.join("index");
        host.mount_image(&image, Format::Erofs, None, &index).unwrap();
        let (plain, indexed) = (place.join("plain"), place.join("indexed"));
        overlay(&mut host, at.iter().rev().cloned().collect(), Vec::new(), &plain);
        overlay(&mut host, vec![index], data.iter().map(|&n| at[n].clone()).collect(), &indexed);
        (seen(&plain), seen(&indexed))
    });
    for (path, said) in &plain {
        assert_eq!(indexed.get(path), Some(said), "{}", path.display());
    }
    assert_eq!(indexed.len(), plain.len());
    let text = |path: &str| plain[Path::new(path)].clone();
    // What is compared is there: whiteouts work, and layers lie over each other.
    assert!(!plain.contains_key(Path::new("usr/share/gone")));
    assert!(!plain.contains_key(Path::new("usr/share/marked/gone")));
    assert!(text("usr/share/opaque/same").contains("of first"));
    assert!(text("usr/share/again/same").contains("of second"));
    assert!(text("usr/share/one").contains("links 3"));
    assert!(text("usr/lib/three").contains("file usr/lib/three"));
}
