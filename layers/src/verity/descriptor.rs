//! The descriptor whose hash is an fs-verity digest (Linux, `Documentation/filesystems/fsverity.rst`, `struct
//! fsverity_descriptor`): SHA-256, blocks of 4096 bytes, no salt, no signature.

use sha2::{Digest as _, Sha256};

use crate::id::Digest;

/// The digest of a file of that length whose tree, without salt, has this root.
pub(super) fn digest(size: u64, root: &[u8; 32]) -> Digest {
    let mut hasher = Sha256::new();
    // Version 1, hash algorithm 1 (SHA-256), 2^12 bytes a block, a salt of 0 bytes, and 4 that are reserved.
    hasher.update([1, 1, 12, 0, 0, 0, 0, 0]);
    hasher.update(size.to_le_bytes());
    // The root hash has room for 64 bytes, the salt for 32; 144 are reserved.
    hasher.update(root);
    hasher.update([0; 32 + 32 + 144]);
    Digest::new(hasher.finalize().into())
}
