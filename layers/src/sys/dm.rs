//! Device-mapper: a read-only device from a table, gone when its last user is.
//!
//! Source: `include/uapi/linux/dm-ioctl.h`, interface version 4; deferred removal since Linux 3.13.

#![expect(unsafe_code, reason = "ioctls take raw descriptors and pointers")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

const DM_READONLY: u32 = 1;
const DM_DEFERRED_REMOVE: u32 = 1 << 17;

const DM_DEV_CREATE: u32 = 3;
const DM_DEV_REMOVE: u32 = 4;
const DM_DEV_SUSPEND: u32 = 6;
const DM_TABLE_LOAD: u32 = 9;
const DM_TARGET_MSG: u32 = 14;

/// `struct dm_ioctl`, and room for what stands behind it.
#[repr(C)]
struct Request {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    payload: [u8; PAYLOAD],
}

/// Room for a `struct dm_target_spec` and a dm-verity line with the longest salt, in bytes.
const PAYLOAD: usize = 1024;

/// The length of `struct dm_ioctl` in bytes.
const HEAD: usize = size_of::<Request>() - PAYLOAD;

/// A device. When this is dropped, the device goes, or, where it is in use, is marked to go with its last user.
pub struct DmDevice {
    name: String,
    minor: u64,
}

impl DmDevice {
    /// Makes and starts a read-only device of `sectors` sectors of 512 bytes with one target. Errors are those of the
    /// ioctls: EBUSY where there is a device of this name, EINVAL where the target refuses its arguments (the kernel's log
    /// says why), ENOENT or ENODEV where there is no device-mapper.
    pub fn new(name: &str, target: &str, sectors: u64, arguments: &str) -> io::Result<Self> {
        let mut created = Request::new(name, DM_READONLY);
        created.send(DM_DEV_CREATE)?;
        // A number above 255 has its upper bits above the major number (Linux, new_encode_dev).
        let minor = created.device & 0xff | created.device >> 12 & 0xf_ff00;
        let made = Self { name: name.to_owned(), minor };
        let mut table = Request::new(name, DM_READONLY);
        table.target_count = 1;
        // A `struct dm_target_spec`: start, length, status, next, the target's name in 16 bytes; then its arguments.
        table.put(8, &sectors.to_ne_bytes())?;
        table.put(24, target.as_bytes())?;
        table.put(40, arguments.as_bytes())?;
        table.send(DM_TABLE_LOAD)?;
        // Without the flag to suspend it, a device is resumed, which brings its table into use.
        Request::new(name, DM_READONLY).send(DM_DEV_SUSPEND)?;
        Ok(made)
    }

    /// The node that the kernel makes in its devtmpfs.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/dm-{}", self.minor))
    }
}

impl Drop for DmDevice {
    fn drop(&mut self) {
        // There is nobody to tell; shutdown finds what is left.
        let _ = Request::new(&self.name, DM_DEFERRED_REMOVE).send(DM_DEV_REMOVE);
    }
}

/// Takes the mark from a device that it goes with its last user, in the kernel's own time: after this it is there until
/// [`remove_dm`] has removed it.
pub fn keep_dm(name: &str) -> io::Result<()> {
    let mut message = Request::new(name, 0);
    // A `struct dm_target_msg`: the sector, here of no meaning, and the words.
    message.put(8, b"@cancel_deferred_remove")?;
    message.send(DM_TARGET_MSG)
}

/// Removes a device; EBUSY where it is in use.
pub fn remove_dm(name: &str) -> io::Result<()> {
    Request::new(name, 0).send(DM_DEV_REMOVE)
}

impl Request {
    /// A request about the device `name`, of which the kernel knows at most 127 bytes.
    fn new(name: &str, flags: u32) -> Self {
        let mut request = Self {
            version: [4, 0, 0],
            data_size: size_of::<Self>() as u32,
            data_start: HEAD as u32,
            target_count: 0,
            open_count: 0,
            flags,
            event_number: 0,
            padding: 0,
            device: 0,
            name: [0; 128],
            uuid: [0; 129],
            data: [0; 7],
            payload: [0; PAYLOAD],
        };
        request.name.iter_mut().take(127).zip(name.bytes()).for_each(|(to, from)| *to = from);
        request
    }

    /// Puts bytes into the payload; what does not fit with a zero behind it is refused.
    fn put(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let place = self.payload.get_mut(at..).filter(|place| place.len() > bytes.len());
        let place = place.ok_or(io::ErrorKind::ArgumentListTooLong)?;
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn send(&mut self, number: u32) -> io::Result<()> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/mapper/control")?;
        let code = nix::request_code_readwrite!(0xfd, number, HEAD);
        // SAFETY: the ioctl reads and writes as many bytes as `data_size` says, which is all of `self`; that outlives the
        // call. The descriptor is open.
        nix::Error::result(unsafe { libc::ioctl(control.as_raw_fd(), code, &raw mut *self) })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_the_kernel_lays_it_out() {
        assert_eq!(HEAD, 312);
        assert_eq!(std::mem::offset_of!(Request, device), 40);
        assert_eq!(std::mem::offset_of!(Request, payload), HEAD);
        let request = Request::new(&"n".repeat(200), 0);
        assert_eq!(request.name[126..], *b"n\0");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut request = Request::new("x", 0);
        assert!(request.put(40, &[b'a'; PAYLOAD - 41]).is_ok());
        for (at, length) in [(40, PAYLOAD - 40), (PAYLOAD, 0), (PAYLOAD + 1, 0), (usize::MAX, 1)] {
            assert!(request.put(at, &vec![b'a'; length]).is_err(), "{at} {length}");
        }
    }
}
