//! PID 1 of the initramfs.

#![expect(
    clippy::disallowed_methods,
    reason = "a program: reads the command line, writes to the console"
)]

use std::{fs, io::Write, path::Path, process::ExitCode, time::Duration};

use initrd::{
    devices::{BlockDevice, wait},
    early, failure,
    failure::{Ending, Failure},
    kmsg,
    modules::Modules,
    steps::Steps,
    uevent::Listener,
};
use layers::cmdline::BootRequest;
use log::{LevelFilter, error, info};

fn main() -> ExitCode {
    let mut steps = Steps::new();
    if std::process::id() != 1 {
        eprintln!(
            "layers-init is started by the kernel as PID 1 of an initramfs; layerctl initrd builds one"
        );
        return ExitCode::FAILURE;
    }
    let mounted = early::mount_all();
    kmsg::start(LevelFilter::Info);
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let request = BootRequest::parse(&cmdline);
    let mut outcome = Failure::default();
    match mounted {
        Err(error) => outcome.problem = Some(error.to_string()),
        Ok(()) => match state_device(&cmdline, &request, &mut steps) {
            Err(problem) => outcome.problem = Some(problem),
            Ok(device) => outcome.state = Some(device.to_string()),
        },
    }
    fail(&outcome, &request)
}

/// Finds the state device and loads its file system's driver; the error is for the failure screen.
fn state_device(
    cmdline: &str,
    request: &BootRequest,
    steps: &mut Steps,
) -> Result<BlockDevice, String> {
    steps.done("first mounts");
    for problem in &request.problems {
        error!("{problem}");
    }
    let events = Listener::open().map_err(|error| error.to_string())?;
    let running =
        fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    let mut modules = Modules::open(Path::new("/"), running.trim_end(), cmdline)
        .map_err(|error| error.to_string())?;
    for error in modules.load_for_boot() {
        error!("{error}");
    }
    steps.done("kernel modules");
    let timeout = Duration::from_secs(request.timeout);
    let device = wait::for_device(&request.state, timeout, &events, &mut modules)
        .map_err(|error| error.to_string())?;
    info!("state device {device}");
    steps.done("state device");
    if let Some(filesystem) = device.filesystem() {
        modules
            .load_for_filesystem(filesystem.kind.driver())
            .map_err(|error| error.to_string())?;
    }
    steps.done("file system driver");
    Ok(device)
}

fn fail(outcome: &Failure, request: &BootRequest) -> ! {
    let ending = Ending::of(request.onfail, failure::has_shell());
    // The screen goes to the console whatever the log level is; where there is none, nobody can be told.
    let _ = std::io::stderr().write_all(failure::screen(outcome, ending).as_bytes());
    failure::end(ending)
}
