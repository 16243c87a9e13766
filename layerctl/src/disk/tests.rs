use std::io;

use super::gpt::{Partition, Purpose, TableError, partitions};

const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
const ROOT_ARM64: &str = "b921b045-1df0-41c3-af44-4c6f280d3fae";
const USR: &str = "8484680c-9521-48c6-9c11-b0720656f69e";
const DATA: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
const SECTOR: usize = 512;
const SECTORS: u64 = 2048;

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// A GUID's bytes on disk.
fn guid(text: &str) -> Vec<u8> {
    let bytes: Vec<u8> = text
        .replace('-', "")
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(|place| bytes[place]).to_vec()
}

/// A disk of one MiB with these partitions: type, first and last sector.
fn disk(partitions: &[(&str, u64, u64)]) -> Vec<u8> {
    let mut disk = vec![0; SECTORS as usize * SECTOR];
    for (number, (kind, first, last)) in partitions.iter().enumerate() {
        let entry =
            [guid(kind), vec![7; 16], first.to_le_bytes().to_vec(), last.to_le_bytes().to_vec()];
        let at = 2 * SECTOR + number * 128;
        disk[at..at + 48].copy_from_slice(&entry.concat());
    }
    let fields: [&[u8]; 12] = [
        b"EFI PART",
        &0x10000_u32.to_le_bytes(),
        &92_u32.to_le_bytes(),
        &[0; 8],
        &1_u64.to_le_bytes(),
        &(SECTORS - 1).to_le_bytes(),
        &34_u64.to_le_bytes(),
        &(SECTORS - 34).to_le_bytes(),
        &[9; 16],
        &2_u64.to_le_bytes(),
        &128_u32.to_le_bytes(),
        &128_u32.to_le_bytes(),
    ];
    let header = fields.concat();
    disk[SECTOR..SECTOR + header.len()].copy_from_slice(&header);
    sign(&mut disk);
    disk
}

/// Puts the checksums right.
fn sign(disk: &mut [u8]) {
    let entries = crc(&disk[2 * SECTOR..2 * SECTOR + 128 * 128]);
    disk[SECTOR + 88..SECTOR + 92].copy_from_slice(&entries);
    disk[SECTOR + 16..SECTOR + 20].fill(0);
    let header = crc(&disk[SECTOR..SECTOR + 92]);
    disk[SECTOR + 16..SECTOR + 20].copy_from_slice(&header);
}

fn read(disk: &[u8]) -> Option<Result<Vec<Partition>, TableError>> {
    let mut read = |at: u64, want: usize| {
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(disk.len());
        Ok::<_, io::Error>(disk[start..(start.saturating_add(want)).min(disk.len())].to_vec())
    };
    partitions(&mut read, disk.len() as u64).unwrap()
}

fn refused(disk: &[u8]) -> String {
    read(disk).unwrap().unwrap_err().to_string()
}

#[test]
fn partitions_are_known_by_their_types() {
    let disk = disk(&[(DATA, 34, 99), (ROOT, 100, 199), (ROOT_ARM64, 200, 299), (USR, 300, 399)]);
    let found = read(&disk).unwrap().unwrap();
    let is = |place: usize| {
        (found[place].purpose, found[place].architecture, found[place].start, found[place].length)
    };
    assert_eq!(found.len(), 3);
    assert_eq!(is(0), (Purpose::Root, "x86-64", 51200, 51200));
    assert_eq!(is(1), (Purpose::Root, "arm64", 102_400, 51200));
    assert_eq!(is(2), (Purpose::Usr, "x86-64", 153_600, 51200));
    assert_eq!(read(&[0; 8192]), None);
    assert_eq!(read(b"hsqs"), None);
}

#[test]
fn a_table_that_lies_is_refused() {
    let cases = [
        (vec![(ROOT, 100, 5000)], "partition 1 is from sector 100 to 5000"),
        (vec![(ROOT, 100, u64::MAX)], "partition 1 is from sector 100 to"),
        (vec![(ROOT, 200, 100)], "partition 1 is from sector 200 to 100"),
        (vec![(ROOT, 0, 100)], "partition 1 is from sector 0 to 100"),
        (vec![(ROOT, u64::MAX / 2, u64::MAX / 2)], "partition 1 is from sector"),
        (vec![(DATA, 100, 200), (ROOT, 150, 250)], "partition 2 overlaps another one"),
    ];
    for (partitions, why) in cases {
        let text = refused(&disk(&partitions));
        assert!(text.contains(why), "{text}");
    }
    for (at, bytes, why) in [
        (12, &93_u32.to_le_bytes()[..], "its header has 93 bytes"),
        (24, &7_u64.to_le_bytes(), "says that it is in sector 7"),
        (32, &u64::MAX.to_le_bytes(), "sector 18446744073709551615"),
        (32, &4000_u64.to_le_bytes(), "speaks of 2048512 bytes, the file has 1048576"),
        (48, &u64::MAX.to_le_bytes(), "its last usable sector"),
        (72, &u64::MAX.to_le_bytes(), "sector 18446744073709551615"),
        (72, &4000_u64.to_le_bytes(), "is truncated"),
        (80, &u32::MAX.to_le_bytes(), "4294967295 entries"),
        (84, &127_u32.to_le_bytes(), "128 entries of 127 bytes"),
    ] {
        let mut disk = disk(&[(ROOT, 100, 200)]);
        disk[SECTOR + at..SECTOR + at + bytes.len()].copy_from_slice(bytes);
        sign(&mut disk);
        let text = refused(&disk);
        assert!(text.contains(why), "{at}: {text}");
    }
}

#[test]
fn a_flipped_bit_never_gives_other_partitions() {
    let whole = disk(&[(ROOT, 100, 199), (USR, 300, 399)]);
    let right = read(&whole).unwrap().unwrap();
    let places = (SECTOR..SECTOR + 92).chain(2 * SECTOR..2 * SECTOR + 3 * 128);
    for place in places {
        for bit in 0..8 {
            let mut disk = whole.clone();
            disk[place] ^= 1 << bit;
            let found = read(&disk);
            let safe = match &found {
                None => place < SECTOR + 8,
                Some(Ok(found)) => *found == right,
                Some(Err(_)) => true,
            };
            assert!(safe, "byte {place}, bit {bit}: {found:?}");
        }
    }
}

#[test]
fn a_cut_file_is_refused() {
    let whole = disk(&[(ROOT, 100, 1999)]);
    for length in [SECTOR + 8, SECTOR + 91, SECTOR + 92, 2 * SECTOR, 9000, 60_000, whole.len() - 1]
    {
        let text = refused(&whole[..length]);
        assert!(text.contains("is truncated") || text.contains("is cut off"), "{length}: {text}");
    }
}
