//! What a program writes and flushes, by strace(1): the same in each run, on whatever file system.

use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use std::path::Path;
use std::process::Command;

/// The system calls that write, and those that flush.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile,splice,\
                     fsync,fdatasync,syncfs,sync,msync,sync_file_range";

/// What a program wrote to files below a directory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes that went to images.
    pub images: u64,
    /// Bytes that went to other files.
    pub records: u64,
    /// How often it waited for the disk.
    pub flushes: u64,
}

impl Written {
    /// Bytes that went to anything.
    pub fn bytes(&self) -> u64 {
        self.images + self.records
    }
}

/// Runs a program, with all that it starts, and adds up what it wrote below `top`; `log` is where strace writes.
pub fn run<E>(command: &mut Command, top: &Path, log: &Path) -> Result<Written, E>
where
    E: From<ProcessError> + From<FileError>,
{
    let mut strace = process::command("strace");
    strace.args(["-f", "-y", "-e", CALLS, "-o"]).arg(log).arg(command.get_program());
    strace.args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        strace.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    process::run(&mut strace)?;
    Ok(count(&files::read_text(log)?, &top.to_string_lossy()))
}

/// Adds up the lines `PID write(3</path>, "…"..., 12) = 12`.
fn count(log: &str, top: &str) -> Written {
    let mut written = Written::default();
    for line in log.lines() {
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        let Some((name, arguments)) = call.split_once('(') else { continue };
        let name = name.rsplit(' ').next().unwrap_or_default();
        let Ok(bytes) = result.split(' ').next().unwrap_or_default().parse::<u64>() else {
            continue;
        };
        if name.contains("sync") {
            written.flushes += u64::from(name == "sync" || target(arguments, 0).starts_with(top));
            continue;
        }
        // Two calls name where they read from first.
        let place = usize::from(matches!(name, "copy_file_range" | "splice"));
        let path = target(arguments, place);
        if path.starts_with(top) {
            let sum =
                if path.ends_with(".img") { &mut written.images } else { &mut written.records };
            *sum += bytes;
        }
    }
    written
}

/// The path of a descriptor, counted from 0: `4</path>`.
fn target(arguments: &str, place: usize) -> &str {
    let path = arguments.split('<').nth(place + 1).and_then(|rest| rest.split_once('>'));
    path.map_or("", |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_records_and_flushes_are_told_apart_and_other_places_left_out() {
        let log = "\
7 write(4</s/boot/.tmp-default>, \"1 = <2>\\n\", 2) = 2
7 write(1<pipe:[1]>, \"now\\n\", 4) = 4
8 write(5</tmp/x>, \"now\\n\", 4) = 4
7 copy_file_range(3</l.img>, NULL, 5</s/.tmp-ab.img>, NULL, 100, 0) = 100
7 sendfile(5</s/x>, 3</l.img>, NULL, 50) = 50
7 write(4</s/log>, \"x\", 1) = -1 ENOSPC (No space left on device)
7 fsync(4</s/log>) = 0
7 fsync(4</tmp/x>) = 0
7 fdatasync(4</s/log>) = -1 EIO (Input/output error)
7 +++ exited with 0 +++
";
        assert_eq!(count(log, "/s"), Written { images: 100, records: 52, flushes: 1 });
    }
}
