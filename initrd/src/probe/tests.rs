//! Probing of images that the real mkfs and fdisk programs made, held against what util-linux says of them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1024 * 1024;

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Self> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let end = start.saturating_add(length).min(self.len());
        Ok(self.get(start..end).unwrap_or_default().to_vec())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

fn run(program: &str, arguments: &[&str], image: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(image)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn image(directory: &TempDir, name: &str, size: u64) -> PathBuf {
    let path = directory.path().join(name);
    File::create(&path).unwrap().set_len(size).unwrap();
    path
}

/// What `blkid -p` says; nothing where it finds nothing (it then ends with status 2).
fn blkid(image: &Path) -> Option<Superblock> {
    let output = Command::new("blkid")
        .args(["-p", "-u", "filesystem", "-o", "udev"])
        .arg(image)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let values: BTreeMap<&str, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key, unescaped(value)))
        .collect();
    let kind = match values.get("ID_FS_TYPE")?.as_str() {
        "ext2" => FilesystemType::Ext2,
        "ext3" => FilesystemType::Ext3,
        "ext4" => FilesystemType::Ext4,
        "btrfs" => FilesystemType::Btrfs,
        "xfs" => FilesystemType::Xfs,
        "vfat" => FilesystemType::Vfat,
        other => panic!("blkid found {other}"),
    };
    Some(Superblock {
        kind,
        uuid: values.get("ID_FS_UUID_ENC").cloned(),
        label: values.get("ID_FS_LABEL_ENC").cloned(),
    })
}

/// The text behind udev's `\x20`.
fn unescaped(value: &str) -> String {
    let mut parts = value.split("\\x");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        text.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        text.push_str(rest);
    }
    text
}

fn probed(image: &Path) -> Option<Superblock> {
    read(image, true).unwrap().filesystem().cloned()
}

/// Changes one byte of the image.
fn flip(image: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
}

struct Case {
    name: &'static str,
    megabytes: u64,
    program: &'static str,
    arguments: &'static [&'static str],
    kind: FilesystemType,
    label: Option<&'static str>,
    /// Bytes whose change makes the superblock unusable: of the magic number, of the checksum, of a covered field.
    vital: &'static [u64],
}

const CASES: &[Case] = &[
    Case {
        name: "ext2",
        megabytes: 4,
        program: "mkfs.ext2",
        arguments: &["-q", "-L", "old-one"],
        kind: FilesystemType::Ext2,
        label: Some("old-one"),
        vital: &[0x438, 0x439],
    },
    Case {
        name: "ext3",
        megabytes: 8,
        program: "mkfs.ext3",
        arguments: &["-q"],
        kind: FilesystemType::Ext3,
        label: None,
        vital: &[0x438],
    },
    Case {
        name: "ext4",
        megabytes: 8,
        program: "mkfs.ext4",
        arguments: &["-q", "-L", "layers"],
        kind: FilesystemType::Ext4,
        label: Some("layers"),
        vital: &[0x438, 0x7fc, 0x468, 0x478],
    },
    Case {
        name: "ext4, label of 16 bytes with a space",
        megabytes: 8,
        program: "mkfs.ext4",
        arguments: &["-q", "-L", "exactly sixteen!"],
        kind: FilesystemType::Ext4,
        label: Some("exactly sixteen!"),
        vital: &[0x438],
    },
    Case {
        name: "ext4 without journal and checksums",
        megabytes: 8,
        program: "mkfs.ext4",
        arguments: &["-q", "-O", "^has_journal,^metadata_csum"],
        kind: FilesystemType::Ext4,
        label: None,
        vital: &[0x438],
    },
    Case {
        name: "btrfs",
        megabytes: 128,
        program: "mkfs.btrfs",
        arguments: &["-q", "-L", "a long label with ümlaut"],
        kind: FilesystemType::Btrfs,
        label: Some("a long label with ümlaut"),
        vital: &[0x10040, 0x10000, 0x10020, 0x1012b, 0x10fff],
    },
    Case {
        name: "btrfs with xxhash checksums",
        megabytes: 128,
        program: "mkfs.btrfs",
        arguments: &["-q", "--csum", "xxhash"],
        kind: FilesystemType::Btrfs,
        label: None,
        vital: &[0x10040],
    },
    Case {
        name: "xfs",
        megabytes: 320,
        program: "mkfs.xfs",
        arguments: &["-q", "-L", "twelve bytes"],
        kind: FilesystemType::Xfs,
        label: Some("twelve bytes"),
        vital: &[0, 0xe0, 0x20, 0x6c, 0x66],
    },
    Case {
        name: "xfs with 4096-byte sectors",
        megabytes: 320,
        program: "mkfs.xfs",
        arguments: &["-q", "-s", "size=4096"],
        kind: FilesystemType::Xfs,
        label: None,
        vital: &[0, 0xe0, 0x20, 0x3ff],
    },
    Case {
        name: "xfs version 4",
        megabytes: 320,
        program: "mkfs.xfs",
        arguments: &["-q", "-m", "crc=0", "-L", "v4"],
        kind: FilesystemType::Xfs,
        label: Some("v4"),
        vital: &[0],
    },
    Case {
        name: "fat12",
        megabytes: 2,
        program: "mkfs.vfat",
        arguments: &["-F", "12", "-n", "SMALL", "-i", "0a1b2c3d"],
        kind: FilesystemType::Vfat,
        label: Some("SMALL"),
        vital: &[510, 11],
    },
    Case {
        name: "fat16",
        megabytes: 16,
        program: "mkfs.vfat",
        arguments: &["-F", "16", "-n", "ESP 16"],
        kind: FilesystemType::Vfat,
        label: Some("ESP 16"),
        vital: &[510, 511],
    },
    Case {
        name: "fat32",
        megabytes: 64,
        program: "mkfs.vfat",
        arguments: &["-F", "32", "-n", "ESP"],
        kind: FilesystemType::Vfat,
        label: Some("ESP"),
        vital: &[510, 12, 21],
    },
    Case {
        name: "fat32 with 4096-byte sectors and no label",
        megabytes: 300,
        program: "mkfs.vfat",
        arguments: &["-F", "32", "-S", "4096"],
        kind: FilesystemType::Vfat,
        label: None,
        vital: &[510],
    },
];

#[test]
fn every_file_system_is_told_as_blkid_tells_it() {
    let directory = TempDir::new().unwrap();
    for case in CASES {
        let image = image(&directory, case.name, case.megabytes * MIB);
        run(case.program, case.arguments, &image);
        let found = probed(&image).unwrap_or_else(|| panic!("{}: nothing found", case.name));
        assert_eq!(found.kind, case.kind, "{}", case.name);
        assert_eq!(found.label.as_deref(), case.label, "{}", case.name);
        assert!(found.uuid.is_some(), "{}", case.name);
        assert_eq!(Some(found), blkid(&image), "{}", case.name);
        fs::remove_file(&image).unwrap();
    }
}

#[test]
fn a_damaged_superblock_is_none() {
    let directory = TempDir::new().unwrap();
    for case in CASES {
        let image = image(&directory, case.name, case.megabytes * MIB);
        run(case.program, case.arguments, &image);
        for &offset in case.vital {
            flip(&image, offset);
            assert_eq!(probed(&image), None, "{}, byte {offset:#x}", case.name);
            flip(&image, offset);
            assert!(probed(&image).is_some(), "{}, byte {offset:#x} restored", case.name);
        }
        let whole = File::options().write(true).open(&image).unwrap();
        whole.set_len(case.vital[0] + 1).unwrap();
        assert_eq!(probed(&image), None, "{}, cut short", case.name);
        fs::remove_file(&image).unwrap();
    }
}

#[test]
fn the_label_of_a_full_fat32_root_directory_is_found_down_the_chain() {
    let directory = TempDir::new().unwrap();
    let image = image(&directory, "chain", 64 * MIB);
    run("mkfs.vfat", &["-F", "32", "-s", "1"], &image);
    // A cluster of 512 bytes holds 16 entries: the root directory is made three clusters long, the label in the last.
    let boot = parse_boot(&image);
    let vfat::RootDirectory::Chain { first: 2, cluster_length: 512, table, data } = boot.root
    else {
        panic!("{boot:?}");
    };
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    for (cluster, next) in [(2_u64, 3_u32), (3, 4), (4, 0x0fff_ffff)] {
        file.write_all_at(&next.to_le_bytes(), table + cluster * 4).unwrap();
    }
    for index in 0_u64..32 {
        let mut entry = *b"FILE0000TXT\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        entry[7] = b'A' + u8::try_from(index % 26).unwrap();
        file.write_all_at(&entry, data + index * 32).unwrap();
    }
    file.write_all_at(b"DEEP LABEL \x08", data + 1024).unwrap();
    assert_eq!(probed(&image).unwrap().label.as_deref(), Some("DEEP LABEL"));
    assert_eq!(probed(&image), blkid(&image));
    // A ring ends all the same.
    file.write_all_at(&2_u32.to_le_bytes(), table + 4 * 4).unwrap();
    file.write_all_at(b"FILE0000TXT\x20", data + 1024).unwrap();
    file.write_all_at(&[b'X'; 480], data + 1056).unwrap();
    assert_eq!(probed(&image).unwrap().label, None);
}

fn parse_boot(image: &Path) -> vfat::BootSector {
    vfat::parse(&fs::read(image).unwrap()[..512]).unwrap()
}

#[test]
fn two_superblocks_on_one_device_are_both_told_and_none_is_chosen() {
    let directory = TempDir::new().unwrap();
    let image = image(&directory, "twice", 128 * MIB);
    run("mkfs.ext4", &["-q"], &image);
    let head = fs::read(&image).unwrap()[..8192].to_vec();
    run("mkfs.btrfs", &["-q", "-f"], &image);
    let file = fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&head, 0).unwrap();
    let content = read(&image, false).unwrap();
    let kinds: Vec<_> = content.superblocks.iter().map(|superblock| superblock.kind).collect();
    assert_eq!(kinds, [FilesystemType::Ext4, FilesystemType::Btrfs]);
    assert_eq!(content.filesystem(), None);
}

#[test]
fn a_missing_device_is_an_error_that_names_it() {
    let error = read(Path::new("/dev/layers-no-such-device"), true).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /dev/layers-no-such-device: No such file"));
}

/// A GPT with the partitions 1 and 3, made by fdisk with this sector size; what fdisk says of them is (number, GUID, name).
fn partitioned(directory: &TempDir, sector_size: &str) -> (PathBuf, Vec<(u32, String, String)>) {
    let image = image(directory, &format!("sectors-of-{sector_size}.img"), 64 * MIB);
    let script = "g\nn\n1\n\n+8M\nn\n3\n\n+8M\nx\nn\n1\nstate – größe\nn\n3\nesp\nr\nw\n";
    let mut fdisk = Command::new("fdisk")
        .args(["-b", sector_size, "--wipe=always"])
        .arg(&image)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    fdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(fdisk.wait().unwrap().success());
    let listing = Command::new("fdisk")
        .args(["-b", sector_size, "-l", "-o", "Device,UUID,Name"])
        .arg(&image)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let device = image.to_str().unwrap();
    let rows = listing
        .lines()
        .filter_map(|line| line.strip_prefix(device))
        .filter_map(|row| {
            let mut words = row.split_whitespace();
            let number = words.next()?.parse().ok()?;
            let uuid = words.next()?.to_lowercase();
            Some((number, uuid, words.collect::<Vec<_>>().join(" ")))
        })
        .collect();
    (image, rows)
}

#[test]
fn partitions_are_told_as_fdisk_tells_them_from_either_table() {
    let directory = TempDir::new().unwrap();
    for sector_size in ["512", "4096"] {
        let (image, expected) = partitioned(&directory, sector_size);
        assert_eq!(expected.len(), 2, "fdisk made two partitions");
        let table = || {
            read(&image, true).unwrap().table.map(|table| {
                let row = |partition: gpt::Partition| {
                    (partition.number, partition.uuid, partition.name.unwrap_or_default())
                };
                table.partitions.into_iter().map(row).collect::<Vec<_>>()
            })
        };
        let sector: u64 = sector_size.parse().unwrap();
        assert_eq!(table().as_ref(), Some(&expected), "sectors of {sector_size}");

        let primary_entries = 2 * sector + 20;
        flip(&image, primary_entries);
        assert_eq!(table().as_ref(), Some(&expected), "entries damaged: the backup serves");
        flip(&image, sector + 16);
        assert_eq!(table().as_ref(), Some(&expected), "header damaged: the backup serves");
        flip(&image, 64 * MIB - sector + 60);
        assert_eq!(table(), None, "both damaged");
        flip(&image, 64 * MIB - sector + 60);
        assert_eq!(table().as_ref(), Some(&expected));
        File::options().write(true).open(&image).unwrap().set_len(32 * MIB).unwrap();
        assert_eq!(table(), None, "the backup is gone with the end of the disk");
    }
}

/// Random bytes with every magic number where it is looked for, so that parsing gets past the first check.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let magics: [(usize, &[u8]); 7] = [
        (0, b"XFSB"),
        (510, &[0x55, 0xaa]),
        (512, b"EFI PART"),
        (4096, b"EFI PART"),
        (0x438, &[0x53, 0xef]),
        (0x10030, &[0, 0, 1, 0, 0, 0, 0, 0]),
        (0x10040, b"_BHRfS_M"),
    ];
    (proptest::collection::vec(any::<u8>(), 0..0x11000), any::<[bool; 7]>()).prop_map(
        move |(mut bytes, planted)| {
            for ((offset, magic), _) in magics.iter().zip(planted).filter(|(_, planted)| *planted) {
                if let Some(place) = bytes.get_mut(*offset..*offset + magic.len()) {
                    place.copy_from_slice(magic);
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in plausible()) {
        content(&bytes, true).unwrap();
        for parse in [ext4::parse, btrfs::parse, xfs::parse] {
            let _ = parse(&bytes);
        }
        let _ = vfat::parse(&bytes);
        let _ = vfat::label(&bytes);
        let _ = gpt::parse_header(&bytes);
    }

    #[test]
    fn no_boot_sector_makes_the_walk_panic(fields in any::<[u8; 64]>(), rest in any::<[u8; 32]>()) {
        let mut bytes = vec![0_u8; 8192];
        bytes[..64].copy_from_slice(&fields);
        bytes[11..17].copy_from_slice(&[0, 2, 1, 1, 0, 1]);
        bytes[21] = 0xf8;
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        bytes[512..544].copy_from_slice(&rest);
        vfat::probe(&bytes, &bytes).unwrap();
    }
}
