//! veritysetup's superblock, the first 512 bytes of a hash area (cryptsetup, `lib/verity/verity.c`, `struct verity_sb`).
//!
//! ```text
//!   0  "verity\0\0"          8  version 1        12  hash type 1       16  UUID, 16 bytes      32  "sha256", 32 bytes
//!  64  data block size      68  hash block size  72  data blocks, u64  80  salt's length, u16  88  salt, 256 bytes
//! ```

use thiserror::Error;

use super::{BLOCK, VerityError, salt_bytes};
use crate::manifest::Verity;

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const ALGORITHM: [u8; 32] = *b"sha256\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Why a hash area is not one that init could use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuperblockError {
    /// It does not begin as veritysetup makes it.
    #[error("it has no superblock of veritysetup")]
    Unknown,
    /// Made with other parameters.
    #[error("its {what} is not {want}")]
    Parameter {
        /// Which parameter.
        what: &'static str,
        /// The only one that is used.
        want: &'static str,
    },
}

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Blocks of data.
    pub data_blocks: u64,
    /// The salt in hexadecimal digits.
    pub salt: String,
}

impl Superblock {
    /// Reads the first bytes of a hash area.
    pub fn parse(head: &[u8]) -> Result<Self, SuperblockError> {
        let wrong = |what, want| Err(SuperblockError::Parameter { what, want });
        if field(head, 0) != Some(*SIGNATURE) {
            return Err(SuperblockError::Unknown);
        }
        if field(head, 8) != Some([1, 0, 0, 0, 1, 0, 0, 0]) {
            return wrong("version and hash type", "1 and 1");
        }
        if field(head, 32) != Some(ALGORITHM) {
            return wrong("hash algorithm", "sha256");
        }
        let size = (BLOCK as u32).to_le_bytes();
        if [field(head, 64), field(head, 68)] != [Some(size); 2] {
            return wrong("block size", "4096 bytes for data and for hashes");
        }
        let data_blocks = field(head, 72).map(u64::from_le_bytes).unwrap_or_default();
        let length = usize::from(field(head, 80).map(u16::from_le_bytes).unwrap_or_default());
        let salt = head.get(88..344).and_then(|area| area.get(..length));
        let Some(salt) = salt else { return wrong("salt's length", "256 bytes or less") };
        let salt = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { data_blocks, salt })
    }

    /// The superblock, padded to the block that it has for itself. Its UUID follows from the root hash, so that the same
    /// image has the same bytes each time.
    pub fn block(verity: &Verity) -> Result<[u8; BLOCK], VerityError> {
        let salt = salt_bytes(&verity.salt)?;
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| {
            block.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(0, SIGNATURE);
        put(8, &[1, 0, 0, 0, 1, 0, 0, 0]);
        put(16, &uuid(verity.root.bytes()));
        put(32, &ALGORITHM);
        put(64, &(BLOCK as u32).to_le_bytes());
        put(68, &(BLOCK as u32).to_le_bytes());
        put(72, &verity.data_blocks.to_le_bytes());
        put(80, &(salt.len() as u16).to_le_bytes());
        put(88, &salt);
        Ok(block)
    }
}

/// The first half of a hash as a UUID of the form that is anybody's to fill (RFC 9562, version 8).
fn uuid(hash: &[u8; 32]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut uuid;
    *version = 0x80 | *version & 0x0f;
    *variant = 0x80 | *variant & 0x3f;
    uuid
}

fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..)?.first_chunk().copied()
}
