//! Loop devices: a read-only block device from a file, gone when its last user is.
//!
//! Source: `include/uapi/linux/loop.h`, LOOP_CONFIGURE since Linux 5.8; loop(4).

#![expect(unsafe_code, reason = "ioctls take raw descriptors and pointers")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const LOOP_CONFIGURE: u32 = 0x4C0A;
const LOOP_CLR_FD: u32 = 0x4C01;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// Another program may take a free device between the question and the answer: so often the question is asked again.
const ATTEMPTS: usize = 64;

nix::ioctl_none_bad!(get_free, LOOP_CTL_GET_FREE);
nix::ioctl_none_bad!(clear, LOOP_CLR_FD);
nix::ioctl_write_ptr_bad!(configure, LOOP_CONFIGURE, LoopConfig);

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// An attached loop device; detached by the kernel when this and every mount of it is gone.
pub struct LoopDevice {
    /// Keeps the device attached until it is mounted.
    _device: File,
    number: i32,
}

impl LoopDevice {
    /// Attaches the open file `backing` read-only: this very file, whatever is at its path by now. `name` is for losetup(8)
    /// to show. Errors are those of open(2) and of the two ioctls.
    pub fn attach(backing: &File, name: &Path) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let config = config(backing, name);
        for _ in 0..ATTEMPTS {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument, and the descriptor is open.
            let number = unsafe { get_free(control.as_raw_fd()) }?;
            let device = File::open(path(number))?;
            // SAFETY: `config` is a whole `struct loop_config` that outlives the call; its descriptor is open.
            match unsafe { configure(device.as_raw_fd(), &raw const config) } {
                Ok(_) => {
                    return Ok(Self { _device: device, number });
                }
                Err(nix::Error::EBUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(nix::Error::EBUSY.into())
    }

    /// The device's node.
    pub fn path(&self) -> PathBuf {
        path(self.number)
    }

    /// The device's number.
    pub fn number(&self) -> i32 {
        self.number
    }
}

/// Takes the file from the loop device at `path`; where somebody still uses it, the kernel does that with the last user's end.
pub fn detach_loop(path: &Path) -> io::Result<()> {
    let device = File::open(path)?;
    // SAFETY: LOOP_CLR_FD takes no argument, and the descriptor is open.
    unsafe { clear(device.as_raw_fd()) }?;
    Ok(())
}

fn path(number: i32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

fn config(backing: &File, name: &Path) -> LoopConfig {
    let mut file_name = [0; 64];
    // For losetup's eyes only, so the end of the path says most; the last byte stays zero.
    let text = name.as_os_str().as_encoded_bytes();
    let tail = text.get(text.len().saturating_sub(63)..).unwrap_or_default();
    file_name.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    LoopConfig {
        fd: backing.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    }
}
