//! A package of Debian's as a file: an archive of ar(1) with `data.tar` in it, compressed or not (deb(5)).

#![expect(clippy::disallowed_methods, reason = "reads package files")]

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use layers::plan::change::Refusal;

use super::scan::{self, ScanError};
use super::{decompressed, refused};
use crate::error::Error;

const MAGIC: &[u8] = b"!<arch>\n";

/// The bytes that the files in a package declare; refuses one that is cut off, that leads out of the root, or that
/// declares more than `limit`.
pub(crate) fn declared(path: &Path, limit: u64) -> Result<u64, Error> {
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    data(BufReader::new(file), limit).map_err(|error| match error {
        ScanError::Header(_) => {
            let what = format!("{} is no package of Debian's, or is damaged", path.display());
            Refusal::new(what, "get the package again").into()
        }
        other => refused(path, &other),
    })
}

fn data(mut reader: impl Read, limit: u64) -> Result<u64, ScanError> {
    let mut magic = [0; MAGIC.len()];
    let mut at = read(&mut reader, &mut magic, 0)?;
    if magic != *MAGIC {
        return Err(ScanError::Header(0));
    }
    loop {
        let mut header = [0; 60];
        at = read(&mut reader, &mut header, at)?;
        let field = |from: usize, to: usize| {
            let bytes = header.get(from..to).unwrap_or_default();
            String::from_utf8_lossy(bytes).trim_end_matches([' ', '/']).to_owned()
        };
        let size: u64 = field(48, 58).parse().map_err(|_| ScanError::Header(at))?;
        if !header.ends_with(b"`\n") {
            return Err(ScanError::Header(at));
        }
        if field(0, 16).starts_with("data.tar") {
            let member = BufReader::new(Box::new((&mut reader).take(size)) as Box<dyn Read + '_>);
            return scan::scan(decompressed(member)?.as_mut(), limit);
        }
        let padded = size + size % 2;
        if io::copy(&mut (&mut reader).take(padded), &mut io::sink())? < padded {
            return Err(ScanError::CutOff(at));
        }
        at += padded;
    }
}

fn read(reader: &mut impl Read, bytes: &mut [u8], at: u64) -> Result<u64, ScanError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof if at == 0 => ScanError::Header(0),
        io::ErrorKind::UnexpectedEof => ScanError::CutOff(at),
        _ => error.into(),
    })?;
    Ok(at + bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{name:<16}{:<32}{:<10}`\n", 0, content.len()).into_bytes();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    }

    #[test]
    fn the_data_of_a_package_is_looked_at() {
        let told = |package: &[u8]| data(package, 1 << 20).map_err(|error| error.to_string());
        let empty = member("data.tar", &[0; 1024]);
        let package = [MAGIC, &member("debian-binary", b"2.0"), &empty].concat();
        assert_eq!(told(&package), Ok(0));
        assert!(told(&package[..70]).unwrap_err().starts_with("is cut off"));
        assert!(told(b"!<arch>\nx").unwrap_err().starts_with("is cut off"));
        assert!(told(b"other").unwrap_err().starts_with("is no tar archive"));
        let none = [MAGIC, &member("debian-binary", b"2.0")].concat();
        assert!(told(&none).unwrap_err().starts_with("is cut off"));
    }
}
