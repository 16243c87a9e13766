//! What must be known of PE files to put sections behind those of systemd-stub, and to tell which kernel a file is.
//!
//! Source: Microsoft's PE Format; Linux, Documentation/arch/x86/boot.rst.

use object::LittleEndian as LE;
use object::pe::{IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64, ImageNtHeaders64};
use object::read::pe::ImageNtHeaders;

/// A processor that systemd-stub and kernels are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// x86-64.
    X64,
    /// 64-bit ARM.
    Arm64,
}

impl Machine {
    /// The name in `linuxNAME.efi.stub`, and of `ukify --efi-arch` (UEFI specification 2.10, 3.5.1.1, without `boot`).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Arm64 => "aa64",
        }
    }
}

/// The headers of a program for UEFI firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    /// What it runs on.
    pub(super) machine: Machine,
    /// The address of its first byte.
    pub(super) base: u64,
    /// To what sections are aligned in memory; a power of two.
    pub(super) alignment: u64,
    /// Where its last section ends in memory, from `base` on, aligned.
    pub(super) end: u64,
    /// Where in the file its headers start: at the signature `PE`.
    pub(super) headers: usize,
}

/// Reads the headers; the reason where these bytes are no such program.
pub(super) fn program(bytes: &[u8]) -> Result<Program, &'static str> {
    let dos = object::pe::ImageDosHeader::parse(bytes).map_err(|_| "it is no PE file")?;
    let offset = u64::from(dos.nt_headers_offset());
    let (headers, _) = ImageNtHeaders64::parse(bytes, &mut offset.clone())
        .map_err(|_| "it is no 64-bit PE file")?;
    let machine = match headers.file_header.machine.get(LE) {
        IMAGE_FILE_MACHINE_AMD64 => Machine::X64,
        IMAGE_FILE_MACHINE_ARM64 => Machine::Arm64,
        _ => return Err("it is for a processor that this program does not know"),
    };
    let optional = &headers.optional_header;
    let alignment = u64::from(optional.section_alignment.get(LE));
    if !alignment.is_power_of_two() {
        return Err("its sections have no alignment");
    }
    let end = u64::from(optional.size_of_image.get(LE)).next_multiple_of(alignment);
    let headers = usize::try_from(offset).unwrap_or(usize::MAX);
    Ok(Program { machine, base: optional.image_base.get(LE), alignment, end, headers })
}

/// Takes away the time of making, and the checksum over it that no UEFI firmware looks at (sbsign makes it anew), so that
/// the same input gives the same bytes.
pub(super) fn forget_time(bytes: &mut [u8], program: &Program) {
    // Places in the headers: `TimeDateStamp` of the COFF header, `CheckSum` of the optional one.
    for place in [8, 88] {
        let start = program.headers.saturating_add(place);
        if let Some(field) = bytes.get_mut(start..start.saturating_add(4)) {
            field.fill(0);
        }
    }
}

/// The version that a kernel for x86 says it is; nothing where it says none, as kernels of other processors.
pub(super) fn kernel_release(bytes: &[u8]) -> Option<&str> {
    let number = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if bytes.get(0x202..0x206)? != b"HdrS" || number(0x20e)? == 0 {
        return None;
    }
    let text = bytes.get(usize::from(number(0x20e)?) + 0x200..)?;
    let length = text.iter().take(256).position(|byte| matches!(byte, 0 | b' '))?;
    std::str::from_utf8(text.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As short as a program can be that has headers: its end at 0x3500, sections aligned to 0x1000.
    fn headers(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &0x80_u32.to_le_bytes());
        put(0x80, b"PE\0\0");
        put(0x84, &machine.to_le_bytes());
        put(0x88, &0x1234_5678_u32.to_le_bytes());
        put(0x94, &240_u16.to_le_bytes());
        put(0x98, &0x20b_u16.to_le_bytes());
        put(0xb0, &0x1_4000_0000_u64.to_le_bytes());
        put(0xb8, &0x1000_u32.to_le_bytes());
        put(0xd0, &0x3500_u32.to_le_bytes());
        put(0xd8, &0x89ab_cdef_u32.to_le_bytes());
        put(0x104, &16_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn headers_say_where_the_next_section_goes() {
        let mut bytes = headers(0x8664);
        let found = program(&bytes).unwrap();
        assert_eq!(
            found,
            Program {
                machine: Machine::X64,
                base: 0x1_4000_0000,
                alignment: 0x1000,
                end: 0x4000,
                headers: 0x80
            }
        );
        forget_time(&mut bytes, &found);
        assert_eq!((&bytes[0x88..0x8c], &bytes[0xd8..0xdc]), (&[0; 4][..], &[0; 4][..]));
        assert_eq!(program(&headers(0xaa64)).unwrap().machine, Machine::Arm64);
    }

    #[test]
    fn what_is_no_program_is_told_and_never_a_panic() {
        assert!(program(b"").is_err());
        assert!(program(b"\x7fELF").is_err());
        assert!(program(&headers(0x1c0)).is_err());
        let whole = headers(0x8664);
        for length in 0..whole.len() {
            let _ = program(&whole[..length]);
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[length] ^= 1 << bit;
                let _ = program(&flipped).map(|found| forget_time(&mut flipped, &found));
            }
        }
    }

    #[test]
    fn a_kernel_says_its_version() {
        let mut kernel = vec![0; 0x1000];
        assert_eq!(kernel_release(&kernel), None);
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(kernel_release(&kernel), None);
        kernel[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        kernel[0x500..0x510].copy_from_slice(b"6.12.1-x (me@x)\0");
        assert_eq!(kernel_release(&kernel), Some("6.12.1-x"));
        kernel[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(kernel_release(&kernel), None);
    }
}
