//! PID 1 of the initramfs: finds the state file system, boots a generation from it, or says why it cannot. And PID 1 once
//! more when the system ends: unmounts all that it has mounted.

#![expect(clippy::disallowed_methods, reason = "a program: reads the command line, ends in execve")]
#![no_main]

use std::{
    env,
    ffi::c_int,
    fs,
    io::{self, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use initrd::{
    boot::{self, BootError, Booted, Effects, Machine},
    devices::{BlockDevice, wait},
    discard, early, failure,
    failure::{Ending, Failure},
    handover, kmsg,
    modules::Modules,
    presets, shutdown, state,
    steps::Steps,
    uevent::Listener,
    watchdog,
};
use layers::{
    cmdline::BootRequest,
    host::LinuxHost,
    layout::{BootPaths, Layout},
    machine_id::MachineId,
    plan::boot::Presets,
    policy::Mode,
    trust::Trust,
};
use log::{LevelFilter, error, info};

/// Where the C library's start-up code begins.
///
/// Rust's own start-up would come first otherwise. It readies a message for a stack overflow, for which the C library
/// reads /proc/self/maps by scanf(3): 120 KiB of code that PID 1 has no use for. It also gives up where there is no
/// console, while a boot needs none.
#[expect(
    unsafe_code,
    reason = "a name that the linker looks for; no other function of this program has it"
)]
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    let mut steps = Steps::new();
    if std::process::id() != 1 {
        if let Some(done) = discard::run(env::args_os()) {
            return done;
        }
        eprintln!(
            "layers-init is started by the kernel as PID 1 of an initramfs; layerctl initrd builds one"
        );
        return 1;
    }
    if let Some(verb) = shutdown::verb(env::args_os()) {
        shutdown::run(&verb);
    }
    let mounted = early::mount_all();
    let rate_limit = kmsg::start(LevelFilter::Info);
    let machine = Machine {
        cmdline: read_line("/proc/cmdline").unwrap_or_default(),
        kernel: read_line("/proc/sys/kernel/osrelease"),
        read_only: None,
        machine_id: None,
        trust: Trust::default(),
        now: now(),
    };
    let request = BootRequest::parse(&machine.cmdline);
    let result = mounted
        .map_err(|error| Failure { problem: Some(error.to_string()), ..Failure::default() })
        .and_then(|()| start(&request, machine, &mut steps));
    let failure = match result {
        Ok(booted) => hand_over(booted, request.watchdog, rate_limit.as_deref()),
        Err(failure) => failure,
    };
    let ending = Ending::of(request.onfail, failure::has_shell());
    // The screen goes to the console whatever the log level is; where there is none, nobody can be told.
    let _ = io::stderr().write_all(failure::screen(&failure, ending).as_bytes());
    failure::end(ending)
}

/// What the C library calls when it finds a fault of its own.
///
/// Its own function would put the message together by printf(3), in the user's language: 29 KiB that nothing else here
/// needs. PID 1 ends in either case, and the kernel says so.
#[cfg(target_feature = "crt-static")]
#[expect(unsafe_code, reason = "takes the place of the C library's function of this name")]
#[unsafe(no_mangle)]
extern "C" fn __assert_fail() -> ! {
    std::process::abort()
}

fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// Finds the state file system and mounts a generation from it; the report is written.
fn start(
    request: &BootRequest,
    mut machine: Machine,
    steps: &mut Steps,
) -> Result<Booted, Failure> {
    let paths = BootPaths::default();
    machine.trust = built_in_trust()
        .map_err(|problem| Failure { problem: Some(problem), ..Failure::default() })?;
    let (device, mut modules) = find_state(request, &machine, steps)
        .map_err(|problem| Failure { problem: Some(problem), ..Failure::default() })?;
    let failed =
        |problem| Failure { problem, state: Some(device.to_string()), candidates: Vec::new() };
    machine.machine_id = machine_id(&device);
    machine.read_only =
        mount_state(&device, request, &paths).map_err(|problem| failed(Some(problem)))?;
    steps.done("state file system");

    let find_init =
        |root: &Path| handover::check(root, request.init.as_deref()).map_err(|e| e.to_string());
    let mut load_driver = |name: &'static str| {
        if let Err(error) = modules.load_for_filesystem(name) {
            error!("{error}");
        }
    };
    let mut effects = Effects {
        host: &mut LinuxHost::new(),
        load_driver: &mut load_driver,
        find_init: &find_init,
    };
    let booted = boot::boot(request, &machine, &paths, &mut effects);
    let mut booted = booted.map_err(|error| match error {
        BootError::NoCandidate(candidates) => Failure { candidates, ..failed(None) },
        error => failed(Some(error.to_string())),
    })?;
    steps.done("generation");
    booted.report.steps = steps.report();
    write_report(&booted);
    settle(&machine, &booted, &paths);
    Ok(booted)
}

/// What was built into this initrd about signatures. One that cannot be read may have asked for them.
fn built_in_trust() -> Result<Trust, String> {
    match fs::read_to_string(Trust::FILE) {
        Ok(text) => Trust::parse(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Trust::default()),
        Err(error) => Err(format!("cannot read {}: {error}", Trust::FILE)),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The system boots without a report; `layerctl status` then cannot say which generation runs.
fn write_report(booted: &Booted) {
    if let Err(error) = state::write_report(Path::new(BootPaths::REPORT), &booted.report) {
        error!("{error}");
    }
}

/// What is done with the state file system once nothing more of the boot is written to it.
fn settle(machine: &Machine, booted: &Booted, paths: &BootPaths) {
    let persists = booted.report.writable.iter().any(|mount| mount.mode == Mode::Persistent);
    let done = match (&machine.read_only, persists) {
        (None, true) => discard::start(&Layout::new(&paths.state()), booted.report.generation),
        (None, false) if !booted.keeps => state::protect(&paths.state()),
        // A full disk is made room on by `layerctl cleanup`, and left by `layerctl rollback`.
        (None, false) | (Some(_), _) => Ok(()),
    };
    if let Err(error) = done {
        error!("{error}");
    }
}

/// Finds the state device and loads its file system's driver; gives the other modules too, for what is mounted later.
/// The error is for the failure screen.
fn find_state(
    request: &BootRequest,
    machine: &Machine,
    steps: &mut Steps,
) -> Result<(BlockDevice, Modules), String> {
    steps.done("first mounts");
    let events = Listener::open().map_err(|error| error.to_string())?;
    let running = machine.kernel.as_deref().ok_or("the kernel does not tell its version")?;
    let mut modules = Modules::open(Path::new("/"), running, &machine.cmdline)
        .map_err(|error| error.to_string())?;
    if request.watchdog.is_some() {
        modules.look_for_watchdogs();
    }
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
        modules.load_for_filesystem(filesystem.kind.driver()).map_err(|error| error.to_string())?;
    }
    steps.done("file system driver");
    Ok((device, modules))
}

/// The same ID at each boot of this machine from this file system, where the firmware or the device tree tells machines
/// apart.
fn machine_id(device: &BlockDevice) -> Option<MachineId> {
    let state = device.filesystem()?.uuid.as_ref()?;
    let sources = ["/sys/class/dmi/id/product_uuid", "/sys/firmware/devicetree/base/serial-number"];
    sources
        .iter()
        .filter_map(|path| read_line(path))
        .find_map(|text| MachineId::derive(&text, state))
}

/// Mounts the state file system; gives why it cannot be written, if it can't.
fn mount_state(
    device: &BlockDevice,
    request: &BootRequest,
    paths: &BootPaths,
) -> Result<Option<String>, String> {
    let filesystem = device
        .filesystem()
        .ok_or_else(|| format!("{device} holds no file system that this initrd knows"))?;
    state::mount(&device.node, filesystem.kind.driver(), &paths.state(), request.writes_nothing())
        .map_err(|error| error.to_string())
}

/// Enters the new root; comes back only with the reason why that failed.
fn hand_over(mut booted: Booted, watchdog: Option<u32>, rate_limit: Option<&str>) -> Failure {
    if let Err(error) = shutdown::prepare() {
        error!("{error}");
    }
    info!("starting {}", booted.init.display());
    // Lives until init is executed, or until it is clear that it can't be.
    let mut armed = None;
    let (init, presets) = (booted.init.clone(), booted.presets.take());
    let entered = || {
        if let Some(presets) = presets {
            preset(&presets, &mut booted);
        }
        armed = watchdog.map(watchdog::arm);
        if let Some(Err(error)) = &armed {
            error!("{error}");
        }
        kmsg::stop(rate_limit);
    };
    let root = BootPaths::default().sysroot;
    let Err(error) = handover::hand_over(&root, &init, env::args_os().skip(1), entered);
    drop(armed);
    Failure { problem: Some(error.to_string()), ..Failure::default() }
}

/// Presets new units, and puts it into the report if that fails.
fn preset(presets: &Presets, booted: &mut Booted) {
    if let Err(error) = presets::apply(presets, &mut LinuxHost::new()) {
        error!("{error}");
        booted.report.problems.push(format!("new units are not preset: {error}"));
        write_report(booted);
    }
}
