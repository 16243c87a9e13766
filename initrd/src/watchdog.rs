//! The hardware watchdog, where the command line asks for it: from the moment at which init is executed, a system that
//! hangs is reset (Documentation/watchdog/watchdog-api.rst).
//!
//! The device admits one opener, so init's descriptor is closed by execve(2) for systemd to open its own. A close without
//! the letter V leaves the watchdog running; the kernel logs `watchdog did not stop!`. A file for
//! systemd-system.conf(5) tells systemd to take over: armed and told are one, so that no system is reset for not knowing.

#![expect(clippy::disallowed_methods, reason = "opens the device and writes systemd's file")]

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

use layers::{exec::HostError, sys::set_watchdog_timeout};
use log::{info, warn};

/// The first watchdog, which is the one that systemd takes.
const DEVICE: &str = "/dev/watchdog0";

/// The name puts it behind whatever the images or the administrator say for all boots.
const SYSTEMD: &str = "/run/systemd/system.conf.d/zz-layers-watchdog.conf";

/// A watchdog that runs. It is stopped when this is dropped, and goes on when the program is replaced by another.
#[derive(Debug)]
pub struct Watchdog(File);

/// Starts the watchdog and makes systemd take it over; to be called in the new root. Nothing where there is no watchdog.
pub fn arm(seconds: u32) -> Result<Option<Watchdog>, HostError> {
    let device = Path::new(DEVICE);
    let opened = match OpenOptions::new().write(true).open(device) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            warn!("layers.watchdog: this machine has no watchdog that the initrd has a driver for");
            return Ok(None);
        }
        opened => opened.map_err(|error| HostError::io("open", device, error))?,
    };
    let watchdog = Watchdog(opened);
    let timeout = match set_watchdog_timeout(&watchdog.0, seconds) {
        Ok(seconds) => seconds.to_string(),
        Err(error) => {
            warn!("{DEVICE} keeps its own timeout: {seconds} s are refused: {error}");
            // What systemd calls the time that it finds.
            "default".to_owned()
        }
    };
    let file = Path::new(SYSTEMD);
    fs::create_dir_all(file.parent().unwrap_or(file))
        .and_then(|()| fs::write(file, settings(&timeout)))
        .map_err(|error| HostError::io("write", file, error))?;
    info!("{DEVICE} resets the machine unless it is pinged; timeout in seconds: {timeout}");
    Ok(Some(watchdog))
}

fn settings(timeout: &str) -> String {
    format!(
        "# layers.watchdog= is on the kernel command line.\n[Manager]\nRuntimeWatchdogSec={timeout}\n"
    )
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Where the kernel does not let it stop, the machine is reset, which a boot that failed bears.
        let _ = self.0.write_all(b"V");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_the_time_that_the_driver_has_set() {
        assert!(settings("60").ends_with("\n[Manager]\nRuntimeWatchdogSec=60\n"));
    }
}
