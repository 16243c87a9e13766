//! Trees as text: a small form to write one down, make it on disk, and read it back.
//!
//! ```text
//! dir network mode 0750 owner 0:42 opaque
//! file network/interfaces mode 0640 xattr user.note=kept
//!     | auto lo
//!     \ no newline behind this
//! link localtime -> /usr/share/zoneinfo/UTC
//! whiteout motd
//! device console 5:1
//! fifo initctl
//! ```
//!
//! Directories above an entry are made as they are needed; `dir .` is the top. What is not said is usual: owner 0:0,
//! mode 0755 for directories and 0644 for all else. In content, `\xNN` is a byte and `\\` a backslash.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, XattrFlags, lgetxattr, llistxattr, lsetxattr, makedev, mknodat,
};

/// Makes a tree at `top`, which is not there yet.
pub(crate) fn make(top: &Path, text: &str) {
    fs::create_dir_all(top).unwrap();
    chmod(top, 0o755);
    let mut open: Option<PathBuf> = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(content) = line.strip_prefix("    ") {
            let path = open.as_ref().unwrap_or_else(|| panic!("content of no file: {line}"));
            let mut bytes = fs::read(path).unwrap();
            match content.split_at(1) {
                ("|", "") => bytes.push(b'\n'),
                ("|", rest) => {
                    bytes.extend(unescape(rest.strip_prefix(' ').unwrap()));
                    bytes.push(b'\n');
                }
                ("\\", rest) => bytes.extend(unescape(rest.strip_prefix(' ').unwrap())),
                _ => panic!("not content: {line}"),
            }
            fs::write(path, bytes).unwrap();
        } else {
            open = entry(top, line);
        }
    }
}

/// Makes one entry; gives its path if it is a file.
fn entry(top: &Path, line: &str) -> Option<PathBuf> {
    let mut words = line.split(' ');
    let kind = words.next().unwrap();
    let path = top.join(OsString::from_vec(unescape(words.next().unwrap())));
    let path = if path.ends_with(".") { top.to_owned() } else { path };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        "dir" => fs::create_dir_all(&path).unwrap(),
        "file" => fs::write(&path, "").unwrap(),
        "link" => {
            assert_eq!(words.next(), Some("->"), "{line}");
            symlink(words.next().unwrap(), &path).unwrap();
        }
        "whiteout" => node(&path, FileType::CharacterDevice, 0),
        "device" => {
            let (major, minor) = words.next().unwrap().split_once(':').unwrap();
            let device = makedev(major.parse().unwrap(), minor.parse().unwrap());
            node(&path, FileType::CharacterDevice, device);
        }
        "fifo" => node(&path, FileType::Fifo, 0),
        _ => panic!("not an entry: {line}"),
    }
    if !matches!(kind, "link") {
        chmod(&path, if kind == "dir" { 0o755 } else { 0o644 });
    }
    let mut mode = None;
    while let Some(word) = words.next() {
        match word {
            "mode" => mode = Some(u32::from_str_radix(words.next().unwrap(), 8).unwrap()),
            "owner" => {
                let (user, group) = words.next().unwrap().split_once(':').unwrap();
                let (user, group) = (user.parse().unwrap(), group.parse().unwrap());
                std::os::unix::fs::lchown(&path, Some(user), Some(group)).unwrap();
            }
            "opaque" => set(&path, "trusted.overlay.opaque", b"y"),
            "xattr" => {
                let (name, value) = words.next().unwrap().split_once('=').unwrap();
                set(&path, name, value.as_bytes());
            }
            _ => panic!("not an attribute: {word} in {line}"),
        }
    }
    // Behind the owner: chown(2) takes set-user-ID bits away.
    if let Some(mode) = mode {
        chmod(&path, mode);
    }
    (kind == "file").then_some(path)
}

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).unwrap();
}

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{name} on {}: {error}", path.display()));
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        if let Some(behind) = behind.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = behind;
        } else {
            let digits = behind.strip_prefix('x').unwrap().get(..2).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &behind[3..];
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                _ if character.is_control() => write!(text, "\\x{:02x}", character as u32).unwrap(),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").unwrap();
        }
    }
    text
}

/// Writes a tree down, sorted; the top only if it is not usual.
pub(crate) fn show(top: &Path) -> String {
    let mut text = String::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let name = escape(path.strip_prefix(top).unwrap().as_os_str().as_bytes());
        let is_dir = kind.is_dir();
        let attributes = attributes(&path);
        if is_dir {
            let mut names: Vec<PathBuf> =
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            // A directory that only leads to its entries goes without saying.
            if path == top && attributes.is_empty()
                || path != top && attributes.is_empty() && !names.is_empty()
            {
                todo.extend(names.into_iter().rev());
                continue;
            }
            todo.extend(names.into_iter().rev());
        }
        let name = if name.is_empty() { ".".to_owned() } else { name };
        let device = metadata.rdev();
        if is_dir {
            writeln!(text, "dir {name}{attributes}").unwrap();
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            writeln!(text, "link {name} -> {}{attributes}", target.display()).unwrap();
        } else if kind.is_char_device() && device == 0 {
            writeln!(text, "whiteout {name}").unwrap();
        } else if kind.is_char_device() {
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            writeln!(text, "device {name} {major}:{minor}{attributes}").unwrap();
        } else if kind.is_fifo() {
            writeln!(text, "fifo {name}{attributes}").unwrap();
        } else {
            writeln!(text, "file {name}{attributes}").unwrap();
            content(&fs::read(&path).unwrap(), &mut text);
        }
    }
    text
}

fn content(bytes: &[u8], text: &mut String) {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(b"") => text.push_str("    |\n"),
            Some(line) => writeln!(text, "    | {}", escape(line)).unwrap(),
            None => writeln!(text, "    \\ {}", escape(line)).unwrap(),
        }
    }
}

fn attributes(path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut text = String::new();
    let mode = metadata.mode() & 0o7777;
    let usual = if metadata.is_dir() { 0o755 } else { 0o644 };
    if !metadata.is_symlink() && mode != usual {
        write!(text, " mode {mode:04o}").unwrap();
    }
    if (metadata.uid(), metadata.gid()) != (0, 0) {
        write!(text, " owner {}:{}", metadata.uid(), metadata.gid()).unwrap();
    }
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names).unwrap();
    let mut names: Vec<&[u8]> =
        names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for name in names {
        let mut value = vec![0; 4096];
        let length = lgetxattr(path, name, &mut value).unwrap();
        match name {
            b"trusted.overlay.opaque" => text.push_str(" opaque"),
            _ => write!(text, " xattr {}={}", escape(name), escape(&value[..length])).unwrap(),
        }
    }
    text
}
