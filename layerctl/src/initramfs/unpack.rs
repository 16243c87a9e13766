//! Kernel modules as they lie in a distribution's tree: plain, or compressed with xz, zstd or gzip.

use std::io::{self, Read};

/// The module's bytes, uncompressed; `file` is its name, whose ending says how it is compressed.
pub(super) fn unpack(file: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match file.rsplit('.').next() {
        Some("xz") => liblzma::read::XzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?,
        Some("zst") => zstd::Decoder::new(bytes.as_slice())?.read_to_end(&mut plain)?,
        Some("gz") => flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?,
        _ => return Ok(bytes),
    };
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;

    fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().stdout
    }

    #[test]
    fn every_compression_that_kernels_use() {
        let module = b"\x7fELF module ".repeat(100);
        for (file, program, arguments) in [
            ("m.ko", "cat", &[][..]),
            // As the kernel's own build does it: CRC-32 and a small dictionary.
            ("m.ko.xz", "xz", &["--check=crc32", "--lzma2=dict=1MiB"]),
            ("m.ko.zst", "zstd", &["-q", "-19"]),
            ("m.ko.gz", "gzip", &["-9n"]),
        ] {
            let packed = piped(program, arguments, &module);
            assert_eq!(unpack(file, packed).unwrap(), module, "{file}");
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        for file in ["m.ko.xz", "m.ko.zst", "m.ko.gz"] {
            assert!(unpack(file, b"not compressed".to_vec()).is_err(), "{file}");
        }
    }
}
