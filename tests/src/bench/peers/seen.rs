//! What a measured boot said of itself, and what its process on the host shows.

use crate::bench::BenchError;
use crate::bench::record::Boot;
use crate::files;
use std::path::Path;

/// The name of QEMU's memory backend in /proc/PID/smaps.
const BACKEND: &str = "memfd:memory-backend-memfd";

/// One boot to the root's own program.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::bench) struct Seen {
    /// When it came to which point.
    pub(in crate::bench) boot: Boot,
    /// MiB read from the disk up to the root's own program.
    pub(in crate::bench) read: f64,
    /// MiB of memory in use at that moment: MemTotal − MemAvailable.
    pub(in crate::bench) used: f64,
    /// MiB of the machine's memory that were touched up to that moment; 0 where nobody looked.
    pub(in crate::bench) touched: f64,
    /// How many layers the root showed.
    pub(in crate::bench) layers: usize,
}

impl Seen {
    /// Reads the lines of bench-init.
    pub(in crate::bench) fn parse(said: &str, touched: f64) -> Result<Self, BenchError> {
        let missing = |line: &str| BenchError::NoLine { line: line.into(), console: said.into() };
        let number = |key: &str| number(said, key).ok_or_else(|| missing(key));
        // The third field counts sectors of 512 bytes that were read (Linux, Documentation/block/stat.rst).
        let sectors =
            line(said, "disk").and_then(|stat| stat.split_whitespace().nth(2)?.parse().ok());
        let sectors: f64 = sectors.ok_or_else(|| missing("bench: disk"))?;
        Ok(Self {
            boot: Boot::parse(said)?,
            read: sectors * 512.0 / f64::from(1 << 20),
            used: (number("MemTotal:")? - number("MemAvailable:")?) / 1024.0,
            touched,
            layers: number("layers")? as usize,
        })
    }
}

/// When a boot with systemd came to which point; milliseconds from the kernel's start.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::bench) struct Started {
    /// multi-user.target was reached.
    pub(in crate::bench) multi_user: f64,
    /// systemd had nothing left to start, which is when it says "Startup finished".
    pub(in crate::bench) finished: f64,
    /// The system's own systemd started.
    pub(in crate::bench) userspace: f64,
    /// How many layers the root showed.
    pub(in crate::bench) layers: usize,
    /// The units that failed.
    pub(in crate::bench) failed: Vec<String>,
}

impl Started {
    /// Reads the lines of bench-report, whose times are microseconds.
    pub(in crate::bench) fn parse(said: &str) -> Result<Self, BenchError> {
        let missing = |line: &str| BenchError::NoLine { line: line.into(), console: said.into() };
        let number = |key: &str| number(said, key).ok_or_else(|| missing(key));
        let failed = said.lines().filter_map(|line| after(line, "failed"));
        let failed = failed.filter_map(|line| line.split_whitespace().next());
        Ok(Self {
            multi_user: number("multi-user")? / 1000.0,
            finished: number("FinishTimestampMonotonic=")? / 1000.0,
            userspace: number("UserspaceTimestampMonotonic=")? / 1000.0,
            layers: number("layers")? as usize,
            failed: failed.map(str::to_owned).collect(),
        })
    }
}

/// `bench: KEY REST`, whatever stands before it on the line: systemd resets a terminal without a line feed.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once("bench: ")?;
    Some(rest.strip_prefix(key)?.trim())
}

fn line<'a>(said: &'a str, key: &str) -> Option<&'a str> {
    // In a line of the trace the same words stand for another thing.
    said.lines().filter(|line| !line.starts_with("trace: ")).find_map(|line| after(line, key))
}

fn number(said: &str, key: &str) -> Option<f64> {
    line(said, key)?.split_whitespace().next()?.parse().ok()
}

/// MiB of a machine's memory that it has touched so far, by the mappings of its QEMU process.
pub(in crate::bench) fn touched(process: u32) -> Result<f64, BenchError> {
    let maps = files::read_text(Path::new(&format!("/proc/{process}/smaps")))?;
    Ok(resident(&maps) / 1024.0)
}

/// KiB resident of the mappings of the memory backend (proc_pid_smaps(5)).
fn resident(smaps: &str) -> f64 {
    let (mut of_backend, mut kibibytes) = (false, 0.0);
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !first.ends_with(':') {
            of_backend = line.contains(BACKEND);
        } else if of_backend && first == "Rss:" {
            let value = line.split_whitespace().nth(1).and_then(|value| value.parse().ok());
            kibibytes += value.unwrap_or(0.0);
        }
    }
    kibibytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
bench: MemTotal: 1024000
bench: MemAvailable: 921600
\u{7}bench: disk   206   0   4096   659 0 0
trace:   init-1   [000] d..1.  1.000000: console: Run /init as init process
trace:   init-1   [000] .....  1.500000: sys_execve(filename: 7f)
trace:   init-1   [000] d..1.  1.600000: console: bench: started
trace:   init-1   [000] d..1.  1.700000: console: bench: layers 99
bench: layers 8
bench: end
";

    #[test]
    fn a_boot_says_what_it_read_and_uses() {
        let seen = Seen::parse(SAID, 3.0).unwrap();
        assert_eq!((seen.read, seen.used, seen.touched, seen.layers), (2.0, 100.0, 3.0, 8));
        assert_eq!((seen.boot.before(), seen.boot.took()), (1000.0, 500.0));
        let said = SAID.replace("bench: disk", "bench: none");
        assert!(Seen::parse(&said, 0.0).unwrap_err().to_string().contains("bench: disk"));
    }

    #[test]
    fn a_boot_with_systemd_says_its_clock() {
        let said = "bench: InitRDTimestampMonotonic=0\nbench: UserspaceTimestampMonotonic=2000000\n\
            bench: FinishTimestampMonotonic=9500000\nbench: multi-user 9000500\n\
            bench: failed tmp.mount loaded failed failed /tmp\nbench: layers 0\nbench: end\n";
        let started = Started::parse(said).unwrap();
        assert_eq!(started.multi_user, 9000.5);
        assert_eq!((started.finished, started.userspace), (9500.0, 2000.0));
        assert_eq!((started.layers, started.failed), (0, vec!["tmp.mount".to_owned()]));
    }

    #[test]
    fn only_the_machines_own_memory_counts() {
        let smaps = "\
7f00-7f10 rw-p 00000000 00:00 0
Rss:                 500 kB
7f20-7f90 rw-s 00000000 00:01 12    /memfd:memory-backend-memfd (deleted)
Size:            1048576 kB
Rss:              204800 kB
VmFlags: rd wr
7fa0-7fb0 r--p 00000000 08:01 77    /usr/lib/libc.so.6
Rss:                 900 kB
";
        assert_eq!(resident(smaps), 204_800.0);
    }
}
