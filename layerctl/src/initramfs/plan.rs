//! The initramfs as a list of files: a pure function of what was chosen.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use layers::trust::Trust;

use super::select::Selection;

/// Where an entry's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A directory.
    Directory,
    /// A character device: major and minor number.
    CharacterDevice(u32, u32),
    /// A file with this text.
    Text(String),
    /// A static program, copied.
    Program(PathBuf),
    /// A kernel module, copied and uncompressed.
    Module(PathBuf),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The path without a leading slash.
    pub(super) path: String,
    /// The permissions.
    pub(super) permissions: u32,
    /// What it is.
    pub(super) content: Content,
}

// Where init mounts things.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "run", "sys", "sysroot"];

/// All entries ordered by path, directories before what is in them.
///
/// `modules` is the directory that the selection's files are in, /usr/lib/modules/VERSION of some tree.
pub(super) fn plan(
    init: &Path,
    shell: Option<&Path>,
    trust: Option<&str>,
    modules: &Path,
    selection: &Selection,
) -> Vec<Entry> {
    let mut files = BTreeMap::new();
    files.insert("init".to_owned(), (0o755, Content::Program(init.to_owned())));
    // PID 1 starts before devtmpfs is mounted and would have no console.
    files.insert("dev/console".to_owned(), (0o600, Content::CharacterDevice(5, 1)));
    if let Some(shell) = shell {
        files.insert("bin/sh".to_owned(), (0o755, Content::Program(shell.to_owned())));
    }
    if let Some(trust) = trust {
        let path = Trust::FILE.trim_start_matches('/').to_owned();
        files.insert(path, (0o644, Content::Text(trust.to_owned())));
    }
    if !selection.modules.is_empty() {
        let directory = format!("lib/modules/{}", selection.kernel);
        files.insert(
            format!("{directory}/modules.layers"),
            (0o644, Content::Text(selection.to_string())),
        );
        for module in &selection.modules {
            let content = Content::Module(modules.join(&module.source));
            files.insert(format!("{directory}/{}", module.file()), (0o644, content));
        }
    }
    let mut entries = BTreeMap::new();
    for point in MOUNT_POINTS {
        entries.insert(point.to_owned(), (0o755, Content::Directory));
    }
    for (path, file) in files {
        for (end, _) in path.match_indices('/') {
            let parent = path.get(..end).unwrap_or_default().to_owned();
            entries.insert(parent, (0o755, Content::Directory));
        }
        entries.insert(path, file);
    }
    // A directory's path is a prefix of what is in it, so the order of the map puts it first.
    let entry = |(path, (permissions, content))| Entry { path, permissions, content };
    entries.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            index::{Index, Texts},
            role::Role,
            select::select,
        },
        *,
    };

    fn paths(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    fn files_come_after_their_directories_in_order() {
        let index = Index::parse(Texts {
            dep: "kernel/fs/ext4/ext4.ko.xz:\nkernel/fs/overlayfs/overlay.ko.zst:\nextra/erofs.ko:\n",
            builtin: "loop.ko\nsquashfs.ko\n",
            ..Texts::default()
        });
        let selection = select("6.12", &index, &[Role::Ext4]).unwrap();
        let entries = plan(
            Path::new("/x/init"),
            Some(Path::new("/x/busybox")),
            None,
            Path::new("/m"),
            &selection,
        );
        assert_eq!(
            paths(&entries),
            [
                "bin",
                "bin/sh",
                "dev",
                "dev/console",
                "init",
                "lib",
                "lib/modules",
                "lib/modules/6.12",
                "lib/modules/6.12/extra",
                "lib/modules/6.12/extra/erofs.ko",
                "lib/modules/6.12/kernel",
                "lib/modules/6.12/kernel/fs",
                "lib/modules/6.12/kernel/fs/ext4",
                "lib/modules/6.12/kernel/fs/ext4/ext4.ko",
                "lib/modules/6.12/kernel/fs/overlayfs",
                "lib/modules/6.12/kernel/fs/overlayfs/overlay.ko",
                "lib/modules/6.12/modules.layers",
                "proc",
                "run",
                "sys",
                "sysroot",
            ]
        );
        assert_eq!(entries[13].content, Content::Module("/m/kernel/fs/ext4/ext4.ko.xz".into()));
        assert_eq!(entries[3].content, Content::CharacterDevice(5, 1));
    }

    #[test]
    fn a_kernel_with_everything_built_in_needs_no_modules_directory() {
        let builtin = "overlay.ko\nloop.ko\nsquashfs.ko\nerofs.ko\n";
        let index = Index::parse(Texts { builtin, ..Texts::default() });
        let selection = select("6.12", &index, &[]).unwrap();
        let entries = plan(Path::new("/x/init"), None, None, Path::new("/m"), &selection);
        assert_eq!(
            paths(&entries),
            ["dev", "dev/console", "init", "proc", "run", "sys", "sysroot"]
        );
        let trusting =
            plan(Path::new("/x/init"), None, Some("verify require\n"), Path::new("/m"), &selection);
        assert_eq!(paths(&trusting)[2..5], ["etc", "etc/layerctl", "etc/layerctl/trust"]);
        assert_eq!(trusting[4].content, Content::Text("verify require\n".into()));
    }
}
