//! Block devices: which of those that are there is meant by `layers.state=`.
//!
//! The choice is [`find`], a pure function over what [`scan`] has seen; [`wait`] repeats the two at each kernel event.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use layers::cmdline::DeviceSpec;

use crate::probe::Superblock;

pub mod scan;
pub mod wait;

/// A partition's entry in its disk's GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionEntry {
    /// PARTUUID as blkid prints it.
    pub uuid: String,
    /// PARTLABEL.
    pub name: Option<String>,
}

/// A block device and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// The node below /dev.
    pub node: PathBuf,
    /// Its superblocks, or why it could not be read. More than one: it was formatted anew over an old file system.
    pub superblocks: Result<Vec<Superblock>, String>,
    /// Its entry in the partition table, for a partition of a disk with a GPT.
    pub partition: Option<PartitionEntry>,
}

impl BlockDevice {
    /// The file system, where it is beyond doubt.
    pub fn filesystem(&self) -> Option<&Superblock> {
        match self.superblocks.as_deref() {
            Ok([one]) => Some(one),
            _ => None,
        }
    }

    fn is(&self, spec: &DeviceSpec) -> bool {
        let filesystem = self.filesystem();
        let partition = self.partition.as_ref();
        match spec {
            DeviceSpec::Uuid(wanted) => filesystem
                .and_then(|filesystem| filesystem.uuid.as_ref())
                .is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted)),
            DeviceSpec::Label(wanted) => {
                filesystem.is_some_and(|filesystem| filesystem.label.as_ref() == Some(wanted))
            }
            DeviceSpec::PartUuid(wanted) => {
                partition.is_some_and(|entry| entry.uuid.eq_ignore_ascii_case(wanted))
            }
            DeviceSpec::PartLabel(wanted) => {
                partition.is_some_and(|entry| entry.name.as_ref() == Some(wanted))
            }
            DeviceSpec::Path(wanted) => &self.node == wanted,
        }
    }
}

impl fmt::Display for BlockDevice {
    /// One line as the failure screen lists devices: `/dev/vda1: ext4, LABEL=x, UUID=…, PARTLABEL=…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.node.display())?;
        match &self.superblocks {
            Err(why) => write!(f, "cannot be read ({why})")?,
            Ok(none) if none.is_empty() => f.write_str("no known file system")?,
            Ok(superblocks) => {
                if superblocks.len() > 1 {
                    f.write_str("several file systems, so none is taken (remove the old ones with wipefs): ")?;
                }
                for (index, superblock) in superblocks.iter().enumerate() {
                    f.write_str(if index > 0 { "; " } else { "" })?;
                    write!(f, "{}", superblock.kind)?;
                    tag(f, "LABEL", superblock.label.as_deref())?;
                    tag(f, "UUID", superblock.uuid.as_deref())?;
                }
            }
        }
        if let Some(partition) = &self.partition {
            tag(f, "PARTLABEL", partition.name.as_deref())?;
            tag(f, "PARTUUID", Some(&partition.uuid))?;
        }
        Ok(())
    }
}

fn tag(f: &mut fmt::Formatter<'_>, key: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, ", {key}={value}"))
}

/// What a specification says of the devices that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match<'a> {
    /// No device yet.
    NotYet,
    /// This device alone.
    One(&'a BlockDevice),
    /// More than one: which is meant can't be known.
    Several(Vec<&'a BlockDevice>),
}

/// Looks for the device that `spec` names.
pub fn find<'a>(spec: &DeviceSpec, devices: &'a [BlockDevice]) -> Match<'a> {
    let matching: Vec<_> = devices.iter().filter(|device| device.is(spec)).collect();
    match matching.as_slice() {
        [] => Match::NotYet,
        [one] => Match::One(one),
        _ => Match::Several(matching),
    }
}

/// Whether a device of this name (as in /sys/class/block) can be the state device at all.
///
/// RAM disks and loop devices are made by somebody who runs, so they are not there yet when a boot looks for its disk;
/// floppy drives take seconds to say that they are empty.
pub fn can_hold_state(name: &str) -> bool {
    let kind = name.trim_end_matches(|character: char| character.is_ascii_digit());
    !(kind.len() < name.len() && matches!(kind, "loop" | "ram" | "zram" | "fd"))
}

/// The node of the device of this name: `!` stands for `/` in sysfs.
pub fn node(dev: &Path, name: &str) -> PathBuf {
    dev.join(name.replace('!', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::FilesystemType;

    fn superblock(kind: FilesystemType, label: &str, uuid: &str) -> Superblock {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Superblock { kind, label: text(label), uuid: text(uuid) }
    }

    fn device(node: &str, label: &str, uuid: &str, partition: Option<(&str, &str)>) -> BlockDevice {
        BlockDevice {
            node: node.into(),
            superblocks: Ok(vec![superblock(FilesystemType::Ext4, label, uuid)]),
            partition: partition
                .map(|(uuid, name)| PartitionEntry { uuid: uuid.into(), name: Some(name.into()) }),
        }
    }

    fn devices() -> Vec<BlockDevice> {
        vec![
            device("/dev/vda", "layers", "0a-1b", None),
            device("/dev/vdb1", "twin", "cc-dd", Some(("aaaa", "state"))),
            device("/dev/vdc1", "twin", "CC-EE", Some(("bbbb", "state"))),
            BlockDevice {
                node: "/dev/vdd".into(),
                superblocks: Ok(vec![
                    superblock(FilesystemType::Ext4, "stale", ""),
                    superblock(FilesystemType::Btrfs, "fresh", "ee-ff"),
                ]),
                partition: None,
            },
            BlockDevice {
                node: "/dev/sr0".into(),
                superblocks: Err("No medium found (os error 123)".into()),
                partition: None,
            },
        ]
    }

    #[test]
    fn a_specification_finds_one_none_or_several() {
        for (spec, expected) in [
            ("UUID=0A-1b", &["/dev/vda"][..]),
            ("UUID=CC-DD", &["/dev/vdb1"]),
            ("UUID=", &[]),
            ("LABEL=layers", &["/dev/vda"]),
            ("LABEL=LAYERS", &[]),
            ("LABEL=twin", &["/dev/vdb1", "/dev/vdc1"]),
            ("LABEL=stale", &[]),
            ("LABEL=fresh", &[]),
            ("PARTUUID=BBBB", &["/dev/vdc1"]),
            ("PARTLABEL=state", &["/dev/vdb1", "/dev/vdc1"]),
            ("PARTLABEL=State", &[]),
            ("/dev/vdb1", &["/dev/vdb1"]),
            ("/dev/sr0", &["/dev/sr0"]),
            ("/dev/vdz", &[]),
        ] {
            let Ok(spec) = spec.parse::<DeviceSpec>() else {
                assert!(expected.is_empty(), "{spec}");
                continue;
            };
            let devices = devices();
            let found = match find(&spec, &devices) {
                Match::NotYet => vec![],
                Match::One(device) => vec![device],
                Match::Several(several) => {
                    assert!(several.len() > 1);
                    several
                }
            };
            let nodes: Vec<_> = found.iter().map(|device| device.node.to_str().unwrap()).collect();
            assert_eq!(nodes, expected, "{spec}");
        }
    }

    #[test]
    fn a_device_is_listed_in_one_line() {
        let lines: Vec<_> = devices().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "/dev/vda: ext4, LABEL=layers, UUID=0a-1b",
                "/dev/vdb1: ext4, LABEL=twin, UUID=cc-dd, PARTLABEL=state, PARTUUID=aaaa",
                "/dev/vdc1: ext4, LABEL=twin, UUID=CC-EE, PARTLABEL=state, PARTUUID=bbbb",
                "/dev/vdd: several file systems, so none is taken (remove the old ones with wipefs): \
                 ext4, LABEL=stale; btrfs, LABEL=fresh, UUID=ee-ff",
                "/dev/sr0: cannot be read (No medium found (os error 123))",
            ]
        );
    }

    #[test]
    fn devices_that_somebody_made_are_passed_over() {
        for (name, expected) in [
            ("vda", true),
            ("nvme0n1p2", true),
            ("dm-0", true),
            ("md127", true),
            ("pmem0", true),
            ("loop0", false),
            ("loop12", false),
            ("ram0", false),
            ("zram0", false),
            ("fd0", false),
            ("ramdisk", true),
        ] {
            assert_eq!(can_hold_state(name), expected, "{name}");
        }
        assert_eq!(node(Path::new("/dev"), "cciss!c0d0"), Path::new("/dev/cciss/c0d0"));
    }
}
