//! The two 32-bit cyclic redundancy checks of on-disk structures, bit by bit: a table would cost more bytes than it saves.

/// CRC-32 as GPT has it (IEEE 802.3, reflected), over the parts one after the other.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    !update(0xedb8_8320, parts)
}

/// CRC-32C (Castagnoli, reflected) before its final inversion, as ext4 stores it.
pub(super) fn crc32c_uninverted(parts: &[&[u8]]) -> u32 {
    update(0x82f6_3b78, parts)
}

/// CRC-32C (Castagnoli, reflected), as XFS and btrfs store it.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    !crc32c_uninverted(parts)
}

fn update(polynomial: u32, parts: &[&[u8]]) -> u32 {
    let mut register = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = (register >> 1) ^ (polynomial & (register & 1).wrapping_neg());
        }
    }
    register
}

#[cfg(test)]
mod tests {
    use super::*;

    // The check values of the catalogue of parametrised CRC algorithms: CRC-32/ISO-HDLC and CRC-32/ISCSI.
    #[test]
    fn the_check_values_of_the_catalogue() {
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c_uninverted(&[b"123456789"]), !0xe306_9283);
    }
}
