//! Waits for the state device by the kernel's events: no polling, no pause.

#![expect(clippy::disallowed_methods, reason = "a deadline needs the clock")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use layers::cmdline::DeviceSpec;
use log::{debug, warn};

use super::{
    BlockDevice, Match, find,
    scan::{self, Scanner},
};
use crate::{
    modules::Modules,
    uevent::{self, Heard, Listener, Uevent},
};

/// Why there is no state device.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No device matched in time.
    #[error("no block device is {spec} after {seconds} s; {}", listing(.devices))]
    TimedOut {
        /// What was looked for.
        spec: DeviceSpec,
        /// How long.
        seconds: u64,
        /// The block devices that are there.
        devices: Vec<BlockDevice>,
    },
    /// More than one device matches.
    #[error("{spec} is ambiguous, and which device is meant is not guessed; {}", listing(.devices))]
    Several {
        /// What was looked for.
        spec: DeviceSpec,
        /// The devices that match.
        devices: Vec<BlockDevice>,
    },
    /// The kernel's events can't be heard.
    #[error(transparent)]
    Uevent(#[from] uevent::Error),
    /// Block devices can't be listed.
    #[error(transparent)]
    Scan(#[from] scan::Error),
}

fn listing(devices: &[BlockDevice]) -> String {
    if devices.is_empty() {
        return "no block device is there at all: this initrd may lack the disk's driver"
            .to_owned();
    }
    let lines: Vec<_> = devices.iter().map(|device| format!("\n  {device}")).collect();
    format!("block devices:{}", lines.concat())
}

/// Loads drivers for the devices that are there and for those that appear, until `spec` names one block device.
///
/// `events` must have been opened before anything was looked for. Drivers for what is there are loaded and their events
/// taken first, so that a second device of the same name that is there at the start is seen.
pub fn for_device(
    spec: &DeviceSpec,
    timeout: Duration,
    events: &Listener,
    modules: &mut Modules,
) -> Result<BlockDevice, Error> {
    let start = Instant::now();
    let deadline = start.checked_add(timeout);
    let mut scanner = Scanner::new(Path::new("/sys"), Path::new("/dev"));
    warn_each(modules.load_for_present_devices(Path::new("/sys")));
    loop {
        while take(events.wait(start)?, &mut scanner, modules) {}
        let devices = scanner.scan()?;
        match find(spec, &devices) {
            Match::One(device) => return Ok(device.clone()),
            Match::Several(several) => {
                let devices = several.into_iter().cloned().collect();
                return Err(Error::Several { spec: spec.clone(), devices });
            }
            Match::NotYet => {}
        }
        // A timeout beyond what the clock can express is none; one day at a time does the same.
        let until = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(86400));
        if !take(events.wait(until)?, &mut scanner, modules) && deadline.is_some() {
            return Err(Error::TimedOut {
                spec: spec.clone(),
                seconds: timeout.as_secs(),
                devices,
            });
        }
    }
}

/// Does what an event calls for; whether there was one.
fn take(heard: Heard, scanner: &mut Scanner, modules: &mut Modules) -> bool {
    match heard {
        Heard::Nothing => return false,
        Heard::Overrun => {
            scanner.forget_all();
            warn_each(modules.load_for_present_devices(Path::new("/sys")));
        }
        Heard::Event(Uevent { action, subsystem, devname, modalias }) => {
            if let Some(modalias) = modalias.filter(|_| action == "add") {
                warn_each(modules.load_for_device(&modalias));
            }
            if let Some(devname) = devname.filter(|_| subsystem == "block") {
                debug!("{action} {devname}");
                scanner.forget(&devname);
            }
        }
    }
    true
}

fn warn_each<E: std::fmt::Display>(errors: Vec<E>) {
    for error in errors {
        warn!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_come_is_an_error_at_the_deadline() {
        let events = Listener::open().unwrap();
        let spec = DeviceSpec::Label("layers-no-such-label".into());
        let start = Instant::now();
        let timeout = Duration::from_millis(50);
        let error = for_device(&spec, timeout, &events, &mut Modules::default()).unwrap_err();
        assert!(start.elapsed() >= timeout);
        assert!(
            error
                .to_string()
                .starts_with("no block device is LABEL=layers-no-such-label after 0 s; ")
        );
    }

    #[test]
    fn the_error_lists_what_is_there() {
        let device =
            BlockDevice { node: "/dev/vda".into(), superblocks: Ok(vec![]), partition: None };
        let spec = DeviceSpec::Uuid("x".into());
        let error =
            Error::TimedOut { spec: spec.clone(), seconds: 30, devices: vec![device.clone()] };
        assert_eq!(
            error.to_string(),
            "no block device is UUID=x after 30 s; block devices:\n  /dev/vda: no known file system"
        );
        let error = Error::TimedOut { spec: spec.clone(), seconds: 30, devices: vec![] };
        assert!(
            error.to_string().ends_with(
                "no block device is there at all: this initrd may lack the disk's driver"
            )
        );
        let error = Error::Several { spec, devices: vec![device.clone(), device] };
        assert!(error.to_string().starts_with("UUID=x is ambiguous"));
    }
}
