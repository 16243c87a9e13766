//! What a tar archive says about itself, read before anything of it is unpacked: names that lead out of the tree, names that
//! are too long, and more bytes than there is room for.
//!
//! Source: tar(5) of libarchive; POSIX.1-2017, pax, "ustar Interchange Format"; the GNU manual, "Basic Tar Format".

use std::collections::BTreeSet;
use std::io::{self, Read};

use thiserror::Error;

const BLOCK: usize = 512;

/// The longest record of names and attributes that is read into memory: larger than any that tar writes.
const RECORD_MAX: u64 = 1 << 20;

/// PATH_MAX and NAME_MAX (linux/limits.h).
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

/// Why an archive is not unpacked.
#[derive(Debug, Error)]
pub(crate) enum ScanError {
    /// It cannot be read, or not be decompressed.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A header is none.
    #[error("is no tar archive, or is damaged at byte {0}")]
    Header(u64),
    /// It ends in the middle of a member.
    #[error("is cut off after {0} bytes")]
    CutOff(u64),
    /// A member would be outside of the tree.
    #[error("has a member outside of its tree: {0}")]
    Outside(String),
    /// A member would be written through a link of the archive that leads out.
    #[error("has a member behind a link that leads out of its tree: {0}")]
    BehindLink(String),
    /// A name is longer than any file system takes.
    #[error("has a name of {0} bytes")]
    LongName(u64),
    /// Its members take more than is allowed.
    #[error("declares more than {0} bytes")]
    TooLarge(u64),
}

/// Reads all headers of an uncompressed archive; gives the bytes that its members declare.
pub(crate) fn scan(reader: &mut dyn Read, limit: u64) -> Result<u64, ScanError> {
    let mut scan = Scan { reader, limit, at: 0, total: 0, links: BTreeSet::new() };
    let mut extra = Extra::default();
    while let Some(block) = scan.block()? {
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        scan.member(&block, &mut extra)?;
    }
    Ok(scan.total)
}

struct Scan<'a> {
    reader: &'a mut dyn Read,
    limit: u64,
    /// Bytes that were read.
    at: u64,
    /// Bytes that were declared.
    total: u64,
    /// Links of the archive that lead out of the tree.
    links: BTreeSet<String>,
}

/// What records before a member say about it.
#[derive(Default)]
struct Extra {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    real_size: u64,
}

impl Scan<'_> {
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ScanError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) if self.at == 0 => return Err(ScanError::Header(0)),
                Ok(0) => return Err(ScanError::CutOff(self.at + filled as u64)),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.at += BLOCK as u64;
        Ok(Some(block))
    }

    fn member(&mut self, block: &[u8; BLOCK], extra: &mut Extra) -> Result<(), ScanError> {
        let damaged = ScanError::Header(self.at - BLOCK as u64);
        if !is_sound(block) {
            return Err(damaged);
        }
        let Some(size) = number(field(block, 124, 12)) else { return Err(damaged) };
        let kind = field(block, 156, 1).first().copied().unwrap_or_default();
        match kind {
            b'L' => extra.path = Some(text(&self.record(size)?)),
            b'K' => extra.link = Some(text(&self.record(size)?)),
            b'x' | b'g' => read_attributes(&self.record(size)?, extra),
            _ => {
                let extra = std::mem::take(extra);
                let name = extra.path.unwrap_or_else(|| own_name(block));
                let link = extra.link.unwrap_or_else(|| text(field(block, 157, 100)));
                self.check(&name, kind, &link)?;
                // The content of a hard link is elsewhere.
                let stored = if kind == b'1' { 0 } else { extra.size.unwrap_or(size) };
                let mut real = extra.real_size;
                if kind == b'S' {
                    real = real.max(number(field(block, 483, 12)).unwrap_or_default());
                    self.skip_sparse_map(block)?;
                }
                self.add(stored.max(real))?;
                self.skip(stored)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, name: &str, kind: u8, link: &str) -> Result<(), ScanError> {
        if name.len() >= PATH_MAX || name.split('/').any(|part| part.len() > NAME_MAX) {
            return Err(ScanError::LongName(name.len() as u64));
        }
        if leads_out(name) {
            return Err(ScanError::Outside(shown(name)));
        }
        let plain = plain(name);
        let behind = plain.match_indices('/').map(|(end, _)| plain.get(..end).unwrap_or_default());
        if behind.into_iter().any(|above| self.links.contains(above)) {
            return Err(ScanError::BehindLink(shown(name)));
        }
        match kind {
            b'1' if leads_out(link) => return Err(ScanError::Outside(shown(link))),
            b'1' if self.links.iter().any(|out| plain_starts(link, out)) => {
                return Err(ScanError::BehindLink(shown(link)));
            }
            b'2' if link_leads_out(&plain, link) => drop(self.links.insert(plain)),
            // What comes later in the place of a link is what is written.
            _ => drop(self.links.remove(&plain)),
        }
        Ok(())
    }

    /// Counts a member: its bytes and its own entry, so that a million empty ones are not for free.
    fn add(&mut self, bytes: u64) -> Result<(), ScanError> {
        self.total = self.total.saturating_add(bytes).saturating_add(BLOCK as u64);
        if self.total > self.limit { Err(ScanError::TooLarge(self.limit)) } else { Ok(()) }
    }

    /// A record of names or attributes, in memory.
    fn record(&mut self, size: u64) -> Result<Vec<u8>, ScanError> {
        if size > RECORD_MAX {
            return Err(ScanError::LongName(size));
        }
        let mut record = Vec::new();
        let read = Read::take(&mut *self.reader, size).read_to_end(&mut record)? as u64;
        self.at += read;
        if read < size {
            return Err(ScanError::CutOff(self.at));
        }
        self.skip_exactly(padding(size))?;
        Ok(record)
    }

    fn skip(&mut self, size: u64) -> Result<(), ScanError> {
        self.skip_exactly(size)?;
        self.skip_exactly(padding(size))
    }

    fn skip_exactly(&mut self, size: u64) -> Result<(), ScanError> {
        let read = io::copy(&mut Read::take(&mut *self.reader, size), &mut io::sink())?;
        self.at += read;
        if read < size { Err(ScanError::CutOff(self.at)) } else { Ok(()) }
    }

    /// Old GNU sparse files have blocks of their map between header and data.
    fn skip_sparse_map(&mut self, block: &[u8; BLOCK]) -> Result<(), ScanError> {
        let mut more = field(block, 482, 1) != [0];
        while more {
            let Some(block) = self.block()? else { return Err(ScanError::CutOff(self.at)) };
            more = field(&block, 504, 1) != [0];
        }
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn field(block: &[u8; BLOCK], at: usize, length: usize) -> &[u8] {
    block.get(at..at + length).unwrap_or_default()
}

/// The sum of all bytes, those of the sum itself counted as spaces.
fn is_sound(block: &[u8; BLOCK]) -> bool {
    let own = 148..156;
    let bytes = block.iter().enumerate();
    let sum: u64 = bytes.map(|(at, &b)| if own.contains(&at) { 32 } else { u64::from(b) }).sum();
    number(field(block, 148, 8)) == Some(sum)
}

/// Octal digits, or base 256 where the first bit is set (GNU).
fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        let mut value: u64 = u64::from(bytes.first()? & 0x7f);
        for &byte in bytes.get(1..)? {
            value = value.checked_mul(256)?.checked_add(u64::from(byte))?;
        }
        return Some(value);
    }
    let text = bytes.split(|&byte| byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?.trim();
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name in the header, with the prefix that POSIX has and GNU has not.
fn own_name(block: &[u8; BLOCK]) -> String {
    let name = text(field(block, 0, 100));
    let prefix = text(field(block, 345, 155));
    let posix = field(block, 257, 6) == *b"ustar\0";
    if posix && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

/// Records `LENGTH KEY=VALUE\n`.
fn read_attributes(mut record: &[u8], extra: &mut Extra) {
    while let Some(space) = record.iter().position(|&byte| byte == b' ') {
        let digits = record.get(..space).and_then(|it| std::str::from_utf8(it).ok());
        let length: Option<usize> = digits.and_then(|digits| digits.parse().ok());
        let Some((line, rest)) = length
            .filter(|&length| length > space + 1)
            .and_then(|length| record.split_at_checked(length))
        else {
            return;
        };
        let line = String::from_utf8_lossy(line.get(space + 1..).unwrap_or_default()).into_owned();
        if let Some((key, value)) = line.trim_end_matches('\n').split_once('=') {
            match key {
                "path" | "GNU.sparse.name" => extra.path = Some(value.to_owned()),
                "linkpath" => extra.link = Some(value.to_owned()),
                "size" => extra.size = value.parse().ok(),
                "GNU.sparse.size" | "GNU.sparse.realsize" => {
                    extra.real_size = value.parse().unwrap_or(u64::MAX);
                }
                _ => {}
            }
        }
        record = rest;
    }
}

/// Whether a member of this name is outside of the tree.
pub(super) fn leads_out(name: &str) -> bool {
    name.starts_with('/') || name.split('/').any(|part| part == "..")
}

/// A name without what means nothing in it: `./a//b/` is `a/b`.
fn plain(name: &str) -> String {
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

fn plain_starts(name: &str, above: &str) -> bool {
    let name = plain(name);
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a link at `at` with this target leads out of the tree in which it is.
fn link_leads_out(at: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = at.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// A name as it may stand in a message.
fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: u64, kind: u8, link: &str) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..263].copy_from_slice(b"ustar\0");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    fn result(blocks: &[[u8; BLOCK]], limit: u64) -> Result<u64, String> {
        let bytes = blocks.concat();
        scan(&mut bytes.as_slice(), limit).map_err(|error| error.to_string())
    }

    fn told(blocks: &[[u8; BLOCK]]) -> String {
        result(blocks, 1 << 30).unwrap_err()
    }

    #[test]
    fn members_that_lead_out_are_seen() {
        for out in ["/etc/passwd", "../x", "usr/../../x", "usr/.."] {
            assert!(leads_out(out), "{out}");
            assert!(told(&[header(out, 0, b'0', "")]).starts_with("has a member outside"));
        }
        for inside in ["./", "usr/bin/..x", "etc/a..b", "..."] {
            assert!(!leads_out(inside), "{inside}");
        }
        assert!(told(&[header("x", 0, b'1', "/etc/shadow")]).contains("outside"));
    }

    #[test]
    fn nothing_is_written_behind_a_link_that_leads_out() {
        for target in ["/etc", "..", "a/../../x"] {
            let link = header("./out", 0, b'2', target);
            assert_eq!(result(&[link], 1 << 20), Ok(512), "a link alone is one");
            assert!(told(&[link, header("out/x", 0, b'0', "")]).contains("behind a link"));
            assert!(told(&[link, header("h", 0, b'1', "out/x")]).contains("behind a link"));
            let replaced = [link, header("out", 0, b'5', ""), header("out/x", 0, b'0', "")];
            assert!(result(&replaced, 1 << 20).is_ok());
        }
        let merged = [header("lib", 0, b'2', "usr/lib"), header("lib/x", 0, b'0', "")];
        assert!(result(&merged, 1 << 20).is_ok());
    }

    #[test]
    fn declared_sizes_are_a_limit_before_anything_is_read() {
        let bomb = header("zeros", 1 << 32, b'0', "");
        assert_eq!(result(&[bomb], 1 << 20).unwrap_err(), "declares more than 1048576 bytes");
        assert!(told(&[header("x", 5, b'0', "")]).starts_with("is cut off after"));
        assert_eq!(result(&[header("x", 5, b'0', ""), [1; BLOCK]], 1024), Ok(517));
        let empty: Vec<_> = (0..4).map(|_| header("x", 0, b'0', "")).collect();
        assert!(result(&empty, 4 * 512).is_ok() && result(&empty, 4 * 512 - 1).is_err());
    }

    #[test]
    fn a_name_of_gigabytes_is_not_read() {
        assert_eq!(
            told(&[header("././@LongLink", 1 << 32, b'L', "")]),
            "has a name of 4294967296 bytes"
        );
        assert_eq!(told(&[header("pax", 1 << 32, b'x', "")]), "has a name of 4294967296 bytes");
        let mut long = [0; BLOCK];
        long[..300].fill(b'a');
        assert_eq!(
            told(&[header("././@LongLink", 300, b'L', ""), long, header("x", 0, b'0', "")]),
            "has a name of 300 bytes"
        );
    }

    #[test]
    fn attributes_rule_over_the_header() {
        let mut record = [0; BLOCK];
        let text = b"16 path=../out1\n";
        record[..text.len()].copy_from_slice(text);
        let blocks = [header("pax", text.len() as u64, b'x', ""), record, header("x", 0, b'0', "")];
        assert!(told(&blocks).contains("../out1"));
        let text = b"22 size=1000000000000\n";
        record.fill(0);
        record[..text.len()].copy_from_slice(text);
        let blocks = [header("pax", text.len() as u64, b'x', ""), record, header("x", 0, b'0', "")];
        assert!(told(&blocks).contains("declares more"));
    }

    #[test]
    fn anything_else_is_no_archive() {
        assert_eq!(told(&[[7; BLOCK]]), "is no tar archive, or is damaged at byte 0");
        assert_eq!(result(&[[0; BLOCK]], 0), Ok(0));
    }
}
