//! A hardware watchdog's timeout (`include/uapi/linux/watchdog.h`; Documentation/watchdog/watchdog-api.rst).

#![expect(unsafe_code, reason = "ioctls take raw descriptors and pointers")]

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

nix::ioctl_readwrite!(wdioc_settimeout, b'W', 6, c_int);

/// Sets the time in seconds after which an open watchdog resets a machine that does not ping it; gives the time that the
/// driver has made of it. EOPNOTSUPP where the time is fixed, EINVAL where the driver has no such time.
pub fn set_watchdog_timeout(device: &File, seconds: u32) -> io::Result<u32> {
    let mut seconds = c_int::try_from(seconds).unwrap_or(c_int::MAX);
    // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, and the descriptor is open.
    unsafe { wdioc_settimeout(device.as_raw_fd(), &raw mut seconds) }?;
    Ok(seconds.unsigned_abs())
}
