//! dm-verity's line of a device-mapper table (Linux, `Documentation/admin-guide/device-mapper/verity.rst`).

use std::path::Path;

use super::BLOCK;
use crate::manifest::Verity;

/// The length of a device over that much data, in sectors of 512 bytes.
pub fn sectors(verity: &Verity) -> u64 {
    verity.data_blocks.saturating_mul(BLOCK as u64 / 512)
}

/// The arguments of the target `verity`: data and hashes on these devices, the tree behind its superblock. `option` is
/// what else than failing the read is done about a wrong block; empty for that alone.
pub fn table(verity: &Verity, data: &Path, hashes: &Path, option: &str) -> String {
    let blocks = verity.data_blocks.to_string();
    let root = verity.root.to_string();
    let salt = if verity.salt.is_empty() { "-" } else { &verity.salt };
    let options: &[&str] = if option.is_empty() { &[] } else { &["1", option] };
    let (data, hashes) = (data.to_string_lossy(), hashes.to_string_lossy());
    let words = ["1", &data, &hashes, "4096", "4096", &blocks, "1", "sha256", &root, salt];
    [&words, options].concat().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    #[test]
    fn a_line_is_as_the_kernel_reads_it() {
        let digest = Digest::new([0xab; 32]);
        let verity =
            Verity { root: digest, salt: String::new(), data_blocks: 300, fsverity: digest };
        let root = "ab".repeat(32);
        assert_eq!(sectors(&verity), 2400);
        assert_eq!(
            table(&verity, Path::new("/dev/loop0"), Path::new("/dev/loop1"), ""),
            format!("1 /dev/loop0 /dev/loop1 4096 4096 300 1 sha256 {root} -")
        );
        let salted = Verity { salt: "00ff".to_owned(), ..verity };
        assert_eq!(
            table(&salted, Path::new("7:0"), Path::new("7:1"), "restart_on_corruption"),
            format!("1 7:0 7:1 4096 4096 300 1 sha256 {root} 00ff 1 restart_on_corruption")
        );
    }
}
