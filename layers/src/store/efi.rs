//! The firmware's variables through which a boot loader is told which entry to start a single time.
//!
//! Source: the Boot Loader Interface, <https://systemd.io/BOOT_LOADER_INTERFACE>; efivarfs: Linux,
//! Documentation/filesystems/efivarfs.rst.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::boot_partition::OneShot;
use crate::entry::{EntryName, PREFIX};
use crate::exec::HostError;
use crate::layout::{LOADER_FEATURES, ONE_SHOT};

/// Non-volatile, for boot services, at run time: what a variable that outlives a restart needs.
const ATTRIBUTES: u32 = 7;

/// The bit of `LoaderFeatures` of a boot loader that looks at `LoaderEntryOneShot`.
const TAKES_ONE_SHOT: u64 = 1 << 3;

/// What is known of the boot loader that started this system, by the variables in `efivars`; nothing where it takes no entry
/// to start once, or nobody told.
pub fn one_shot(efivars: &Path) -> Option<OneShot> {
    let value = |name: &str| fs::read(efivars.join(name)).ok()?.get(4..).map(<[u8]>::to_vec);
    let features = u64::from_le_bytes(*value(LOADER_FEATURES)?.first_chunk()?);
    if features & TAKES_ONE_SHOT == 0 {
        return None;
    }
    let entry = value(ONE_SHOT).map(|value| from_utf16(&value));
    let set = entry.is_some_and(|entry| entry.starts_with(PREFIX));
    Some(OneShot { variable: efivars.join(ONE_SHOT), set })
}

/// Sets the variable to one of our entries, or takes it away.
pub fn set_one_shot(variable: &Path, entry: Option<EntryName>) -> Result<(), HostError> {
    let done = unlock(variable).and_then(|()| match entry {
        Some(entry) => write(variable, &to_utf16(&pattern(entry))),
        None => match fs::remove_file(variable) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    });
    done.map_err(|error| HostError::io("set", variable, error))
}

/// The entry whatever its counters are by the time that the boot loader looks for it: it takes a pattern.
fn pattern(entry: EntryName) -> String {
    entry.uncounted().to_string().replace(".conf", "*.conf")
}

/// A variable is protected from `rm -r` by the immutable flag.
fn unlock(variable: &Path) -> io::Result<()> {
    let file = match File::open(variable) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let flags = ioctl_getflags(&file)?;
    if flags.contains(IFlags::IMMUTABLE) {
        ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
    }
    Ok(())
}

/// Attributes and value must come in one write.
fn write(variable: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(variable)?;
    let bytes = [&ATTRIBUTES.to_le_bytes(), value].concat();
    let length = file.write(&bytes)?;
    if length != bytes.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

fn to_utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn from_utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::GenerationId;

    fn efivars(features: Option<u64>) -> tempfile::TempDir {
        let efivars = tempfile::tempdir().unwrap();
        if let Some(features) = features {
            let bytes = [&6_u32.to_le_bytes()[..], &features.to_le_bytes()].concat();
            fs::write(efivars.path().join(LOADER_FEATURES), bytes).unwrap();
        }
        efivars
    }

    #[test]
    fn a_boot_loader_says_that_it_takes_an_entry_to_start_once() {
        for (features, takes) in
            [(None, false), (Some(0), false), (Some(7), false), (Some(8), true)]
        {
            let efivars = efivars(features);
            assert_eq!(one_shot(efivars.path()).is_some(), takes, "{features:?}");
        }
    }

    #[test]
    fn an_entry_is_set_and_taken_away() {
        let efivars = efivars(Some(0x1ff));
        let found = || one_shot(efivars.path()).unwrap();
        assert!(!found().set);
        let variable = found().variable;
        let name = EntryName::of(false, GenerationId::FIRST, "text", None);
        set_one_shot(&variable, Some(name)).unwrap();
        assert!(found().set);
        let bytes = fs::read(&variable).unwrap();
        assert_eq!(bytes[..8], [7, 0, 0, 0, b'l', 0, b'a', 0]);
        let pattern = name.to_string().replace(".conf", "*.conf");
        assert_eq!(from_utf16(&bytes[4..]), pattern);
        assert_eq!(bytes.len(), 4 + 2 * (pattern.len() + 1));
        set_one_shot(&variable, None).unwrap();
        assert!(!found().set && !variable.exists());
        set_one_shot(&variable, None).unwrap();
        // Somebody else's choice is not ours.
        let other = [&ATTRIBUTES.to_le_bytes()[..], &to_utf16("windows.conf")].concat();
        fs::write(&variable, other).unwrap();
        assert!(!found().set);
    }
}
