//! A machine ID for boots that cannot keep one: the same at each boot, from what the hardware says of itself.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The ID of a machine (machine-id(5)): 128 bits, in text 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineId([u8; 16]);

impl MachineId {
    /// An ID from a serial number or UUID of the hardware and the state file system's UUID, hashed, so that it tells
    /// neither. `None` where the hardware says nothing of use: firmware fills the field with zeros or words like
    /// "Not Specified", and an ID that two machines share is worse than a new one at each boot.
    pub fn derive(hardware: &str, state: &str) -> Option<Self> {
        let hardware = hardware.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        let digits: Vec<char> = hardware.chars().filter(char::is_ascii_hexdigit).collect();
        let one_digit = digits.iter().all(|digit| Some(digit) == digits.first());
        let number = hardware.chars().any(|c| c.is_ascii_digit());
        if digits.len() < 8 || one_digit || !number {
            return None;
        }
        let mut hasher = Sha256::new();
        for part in ["layerctl machine-id", hardware, state] {
            hasher.update(part);
            hasher.update([0]);
        }
        let mut id = [0; 16];
        id.iter_mut().zip(hasher.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        // A version 4 UUID, as systemd makes its own (RFC 9562, section 5.4).
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        Some(Self(id))
    }

    /// Whether the content of /etc/machine-id is an ID: an empty file and `uninitialized` are none yet.
    pub fn is_one(text: &[u8]) -> bool {
        let text = text.trim_ascii_end();
        text.len() == 32
            && text.iter().all(u8::is_ascii_hexdigit)
            && text.iter().any(|c| *c != b'0')
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4C4C4544-0042-3510-8052-B4C04F4A5931\n";

    #[test]
    fn an_id_is_the_same_each_time_and_another_for_each_machine_and_disk() {
        let id = MachineId::derive(UUID, "a").unwrap();
        assert_eq!(MachineId::derive(UUID, "a"), Some(id));
        assert_ne!(MachineId::derive(UUID, "b"), Some(id));
        assert_ne!(MachineId::derive("10000000abcdef12\0", "a"), Some(id));
        assert!(MachineId::is_one(id.to_string().as_bytes()));
        assert_eq!(id.to_string().as_bytes()[12], b'4');
    }

    #[test]
    fn hardware_that_says_nothing_gives_none() {
        let nothing = [
            "",
            "Not Specified",
            "To be filled by O.E.M.",
            "0",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "Default string",
            "1234567",
        ];
        for hardware in nothing {
            assert_eq!(MachineId::derive(hardware, "a"), None, "{hardware}");
        }
    }

    #[test]
    fn what_is_not_yet_an_id_is_none() {
        for text in ["", "uninitialized\n", "0123", "00000000000000000000000000000000"] {
            assert!(!MachineId::is_one(text.as_bytes()), "{text}");
        }
        assert!(MachineId::is_one(b"0123456789abcdef0123456789abcdef\n"));
    }
}
