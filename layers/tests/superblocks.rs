//! Superblocks of real images: told apart, and what is wrong with them found.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test makes images and ends with the first surprise"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use layers::store::stage;
use layers::superblock::{Format, SUPERBLOCK_BYTES, Superblock, SuperblockError, squashfs_inodes};

/// A real image, and the arguments that it was made with.
struct Image {
    made: String,
    format: Format,
    bytes: Vec<u8>,
}

static IMAGES: LazyLock<Vec<Image>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    // Some that compresses and some that does not, over several blocks.
    let mut noise = 1_u32;
    let bytes: Vec<u8> = (0..300_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        })
        .collect();
    fs::write(tree.join("usr/bin/noise"), &bytes).unwrap();
    fs::write(tree.join("usr/bin/zeros"), vec![0; 300_000]).unwrap();
    std::os::unix::fs::symlink("noise", tree.join("usr/bin/link")).unwrap();
    let squashfs = ["gzip", "xz", "zstd"]
        .map(|compressor| vec!["-comp", compressor, "-quiet", "-no-progress", "-noappend"]);
    let unpadded = ["-comp", "zstd", "-b", "1M", "-nopad", "-quiet", "-no-progress", "-noappend"];
    let erofs: [&[&str]; 4] = [
        &["--quiet"],
        &["--quiet", "-zlz4"],
        &["--quiet", "-zlz4hc", "-C65536"],
        &["--quiet", "--chunksize=4096"],
    ];
    let mut images: Vec<Image> = Vec::new();
    for options in squashfs.iter().map(Vec::as_slice).chain([unpadded.as_slice()]) {
        images.push(make(dir.path(), "mksquashfs", Format::Squashfs, options));
    }
    images
        .extend(erofs.iter().map(|options| make(dir.path(), "mkfs.erofs", Format::Erofs, options)));
    images
});

fn make(dir: &Path, program: &str, format: Format, options: &[&str]) -> Image {
    let (tree, image) = (dir.join("tree"), dir.join("image"));
    let _ = fs::remove_file(&image);
    let mut command = Command::new(program);
    match format {
        Format::Squashfs => command.args([&tree, &image]).args(options),
        Format::Erofs => command.args(options).args([&image, &tree]),
    };
    let made = command.output().unwrap_or_else(|error| {
        panic!("{program}: {error}: apt-get install squashfs-tools erofs-utils")
    });
    assert!(made.status.success(), "{command:?}: {}", String::from_utf8_lossy(&made.stderr));
    let made = format!("{program} {}", options.join(" "));
    Image { made, format, bytes: fs::read(&image).unwrap() }
}

fn parse(bytes: &[u8]) -> Result<Superblock, SuperblockError> {
    Superblock::parse(&bytes[..bytes.len().min(SUPERBLOCK_BYTES)], bytes.len() as u64)
}

#[test]
fn squashfs_counts_its_inodes() {
    for Image { made, format, bytes } in IMAGES.iter() {
        // The root, usr, bin, two files and a link.
        let expected = (*format == Format::Squashfs).then_some(6);
        assert_eq!(squashfs_inodes(bytes), expected, "{made}");
        assert_eq!(squashfs_inodes(&bytes[..3]), None, "{made}");
    }
}

#[test]
fn real_images_are_told_apart_and_long_enough() {
    for Image { made, format, bytes } in IMAGES.iter() {
        let superblock = parse(bytes).unwrap_or_else(|error| panic!("{made}: {error}"));
        assert_eq!(superblock.format, *format, "{made}");
        let slack = bytes.len() as u64 - superblock.bytes;
        assert!(slack < 4096, "{made}: {slack} bytes behind its end");
    }
}

#[test]
fn a_file_on_disk_is_read_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    for image in IMAGES.iter() {
        fs::write(&path, &image.bytes).unwrap();
        assert_eq!(stage::superblock(&path).unwrap(), parse(&image.bytes), "{}", image.made);
    }
    for bytes in [&b""[..], b"hsqs", b"#!/bin/sh\n"] {
        fs::write(&path, bytes).unwrap();
        assert!(stage::superblock(&path).unwrap().is_err(), "{bytes:?}");
    }
    assert_eq!(stage::superblock(dir.path()).unwrap(), Err(SuperblockError::Unknown));
    assert!(stage::superblock(&dir.path().join("missing")).is_err());
}

#[test]
fn a_truncated_image_is_called_truncated_damaged_or_unknown() {
    for Image { made, format, bytes } in IMAGES.iter() {
        let used = usize::try_from(parse(bytes).unwrap().bytes).unwrap();
        let places = [
            0,
            1,
            3,
            4,
            27,
            95,
            96,
            512,
            1023,
            1024,
            1027,
            1028,
            1100,
            1151,
            1152,
            4096,
            used / 2,
            used - 4096,
            used - 1,
        ];
        for length in places.into_iter().filter(|length| *length < used) {
            let error = parse(&bytes[..length]).unwrap_err();
            let magic = if *format == Format::Squashfs { 4 } else { 1028 };
            // The last field that is looked at ends before this byte.
            let fields = if *format == Format::Squashfs { 80 } else { 1064 };
            let right = match &error {
                SuperblockError::Unknown => length < magic,
                SuperblockError::Damaged { format: named, .. } => {
                    named == format && length < fields
                }
                SuperblockError::Truncated { format: named, want, have } => {
                    named == format && *want == used as u64 && *have == length as u64
                }
            };
            assert!(right, "{made}, {length} of {used} bytes: {error}");
        }
        assert_eq!(parse(&bytes[..used]).map(|found| found.format), Ok(*format), "{made}");
    }
}

/// What is not caught here is the business of digests; what matters is that nothing panics, and that an image is never
/// taken for one of the other format.
#[test]
fn no_flipped_bit_panics_or_changes_the_format() {
    for Image { made, format, bytes } in IMAGES.iter() {
        let length = bytes.len() as u64;
        let mut head = bytes[..SUPERBLOCK_BYTES].to_vec();
        let mut caught = 0;
        for bit in 0..SUPERBLOCK_BYTES * 8 {
            head[bit / 8] ^= 1 << (bit % 8);
            match Superblock::parse(&head, length) {
                Ok(found) => assert_eq!(found.format, *format, "{made}, bit {bit}"),
                Err(_) => caught += 1,
            }
            head[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(caught >= 32, "{made}: a flipped bit in the magic at least is caught: {caught}");
    }
}

#[test]
fn damaged_fields_are_named() {
    let squashfs = &IMAGES[0].bytes;
    let erofs = &IMAGES.iter().find(|image| image.format == Format::Erofs).unwrap().bytes;
    let cases: [(&[u8], usize, &[u8], &str); 8] = [
        (squashfs, 28, &[3, 0], "has a damaged squashfs superblock: version 3, not 4"),
        (squashfs, 22, &[30, 0], "block size 131072 with logarithm 30"),
        (squashfs, 12, &[1, 0, 0, 0], "block size 1 with logarithm 17"),
        (
            squashfs,
            40,
            &[0xff; 8],
            "is truncated: its squashfs superblock says 18446744073709551615",
        ),
        (squashfs, 64, &[0xff; 8], "the inode table is at byte 18446744073709551615"),
        (erofs, 1036, &[64], "has a damaged erofs superblock: block size 2^64"),
        (erofs, 1060, &[0; 4], "no blocks"),
        (erofs, 1060, &[0xff; 4], "is truncated: its erofs superblock says"),
    ];
    for (bytes, at, new, what) in cases {
        let mut bytes = bytes.to_vec();
        bytes[at..at + new.len()].copy_from_slice(new);
        let error = parse(&bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}
