//! Which mounts are in the way of a clean end, and in which order they go: a pure function of /proc/self/mountinfo
//! (proc_pid_mountinfo(5)).

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// What this program itself stands on. systemd has them bound into the root that it starts the program in.
const KEPT: [&str; 5] = ["/", "/proc", "/sys", "/dev", "/run"];

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    id: u32,
    parent: u32,
    /// Where.
    pub at: PathBuf,
    /// Whether the file system is on a block device and can be written.
    pub writable_disk: bool,
}

/// The mounts in a mountinfo; lines that are none are passed over.
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

/// What has to be unmounted, a mount before what it stands on, and of those on the same one the youngest first.
pub fn order(mounts: Vec<Mount>) -> Vec<Mount> {
    let parent = |id: u32| {
        let mount = mounts.iter().find(|mount| mount.id == id)?;
        (mount.parent != id).then_some(mount.parent)
    };
    // The root's parent is in no line or is the root itself, so no chain is longer than the list.
    let depth = |mount: &Mount| {
        let chain = std::iter::successors(Some(mount.id), |&id| parent(id));
        chain.take(mounts.len()).count()
    };
    let goes = |mount: &&Mount| !KEPT.iter().any(|kept| mount.at.as_os_str() == *kept);
    let depths: Vec<_> =
        mounts.iter().rev().filter(goes).map(|mount| (depth(mount), mount)).collect();
    let deepest = depths.iter().map(|(depth, _)| *depth).max().unwrap_or_default();
    let level = |level: usize| depths.iter().filter(move |(depth, _)| *depth == level);
    (0..=deepest).rev().flat_map(level).map(|(_, mount)| (*mount).clone()).collect()
}

/// A line: `ID PARENT MAJOR:MINOR ROOT AT OPTIONS [TAG]… - TYPE SOURCE OPTIONS-OF-THE-FILE-SYSTEM`.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let at = unescape(fields.nth(2)?);
    let mut own = fields.skip_while(|field| *field != b"-").skip(2);
    let (source, options) = (own.next()?, own.next()?);
    let writable_disk = source.starts_with(b"/dev/") && options.starts_with(b"rw");
    Some(Mount { id, parent, at: OsString::from_vec(at).into(), writable_disk })
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The kernel writes blank, tab, line feed and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.first_chunk::<3>().filter(|_| byte == b'\\');
        let code =
            code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        text.push(code.unwrap_or(byte));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd 257 leaves on a machine whose base is its only image; /etc is still mounted, as where it is in use.
    const AT_SHUTDOWN: &str = include_str!("at-shutdown.mountinfo");

    fn ordered(text: &str) -> Vec<String> {
        order(parse(text.as_bytes())).iter().map(|mount| mount.at.display().to_string()).collect()
    }

    #[test]
    fn a_mount_goes_before_what_it_stands_on() {
        assert_eq!(
            ordered(AT_SHUTDOWN),
            [
                "/oldroot/sys/fs/cgroup",
                "/oldroot/dev/pts",
                "/oldroot/run/initramfs/layers/base",
                "/oldroot/run/initramfs/layers/state",
                "/run/credentials",
                "/sys/fs/cgroup",
                "/dev/pts",
                "/oldroot/etc",
                "/oldroot/run",
                "/oldroot/dev",
                "/oldroot/sys",
                "/oldroot/proc",
                "/layers/base",
                "/layers/state",
                "/oldroot",
            ]
        );
    }

    #[test]
    fn every_mount_comes_before_its_parent_whatever_the_order_of_the_lines() {
        let line = |id, parent, at: &str| format!("{id} {parent} 0:1 / {at} rw - tmpfs tmpfs rw\n");
        let lines = [line(9, 3, "/a/b/c"), line(3, 7, "/a/b"), line(7, 1, "/a"), line(1, 1, "/")];
        let backwards: String = lines.iter().rev().cloned().collect();
        for text in [lines.concat(), backwards] {
            assert_eq!(ordered(&text), ["/a/b/c", "/a/b", "/a"]);
        }
    }

    #[test]
    fn of_two_on_the_same_mount_the_younger_goes_first() {
        let text = "2 1 0:1 / /a rw - tmpfs a rw\n3 1 0:1 / /b rw - tmpfs b rw\n4 3 0:1 / /b rw - tmpfs c rw\n";
        assert_eq!(ordered(text), ["/b", "/b", "/a"]);
        assert!(ordered("1 2 0:1 / /a rw - tmpfs a rw\n2 1 0:1 / /b rw - tmpfs b rw\n").len() == 2);
    }

    #[test]
    fn a_file_system_on_a_disk_that_can_be_written_is_told_from_others() {
        for (line, expected) in [
            ("1 0 254:0 / /s rw,nosuid - ext4 /dev/vda rw,discard", true),
            ("1 0 254:0 / /s ro,nosuid shared:1 master:2 - ext4 /dev/vda rw", true),
            ("1 0 0:40 /sub /s rw - btrfs /dev/vda2 rw,subvol=/sub", true),
            ("1 0 254:0 / /s rw - ext4 /dev/vda ro", false),
            ("1 0 7:0 / /b ro - squashfs /dev/loop0 ro,errors=continue", false),
            ("1 0 0:30 / /r rw - tmpfs tmpfs rw", false),
            ("1 0 0:31 / /e rw - overlay layerctl:3 rw,lowerdir+=/x", false),
        ] {
            assert_eq!(parse(line.as_bytes())[0].writable_disk, expected, "{line}");
        }
    }

    #[test]
    fn names_are_unescaped_and_what_is_no_line_is_passed_over() {
        let text = b"\n1 0 0:1 / /a\\040b\\134\\0 rw - tmpfs t rw\nx\n1 2 0:1 / /c rw -\n1 0 0:1 / /\xff rw - t t rw";
        let at: Vec<_> = parse(text).into_iter().map(|mount| mount.at.into_os_string()).collect();
        assert_eq!(at, ["/a b\\\\0".into(), OsString::from_vec(b"/\xff".to_vec())]);
    }
}
