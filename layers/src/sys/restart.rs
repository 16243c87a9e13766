//! A restart with an argument for the firmware, for which the C library has no function.

#![expect(unsafe_code, reason = "reboot(2) with an argument is a raw system call")]

use std::ffi::CStr;
use std::io;

/// Restarts the machine and hands `argument` to the firmware (reboot(2), LINUX_REBOOT_CMD_RESTART2); comes back only with
/// the reason why not. Nothing is written to disks before: sync(2) is the caller's.
pub fn restart_with(argument: &CStr) -> io::Error {
    // SAFETY: the four arguments are those of reboot(2); the last is a string that outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
    io::Error::last_os_error()
}
