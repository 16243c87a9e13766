//! The log: into /dev/kmsg, where the kernel keeps it and shows it on the console (Documentation/ABI/testing/dev-kmsg).
//!
//! simplelog, which layerctl has, would bring the formatting of times with it: 16 KiB of a program that lives in memory.

#![expect(clippy::disallowed_methods, reason = "opens /dev/kmsg and a sysctl")]

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    sync::OnceLock,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

// One write is one record; longer ones are refused (devkmsg_write in kernel/printk/printk.c) or cut.
const RECORD: usize = 975;
const PREFIX: &str = "layers-init: ";
const RATE_LIMIT: &str = "/proc/sys/kernel/printk_devkmsg";

/// Starts logging to /dev/kmsg and lifts the kernel's limit of 10 records in 5 s; needs /dev and /proc.
///
/// Without /dev/kmsg nothing is logged: a boot does not fail for its log. Returns what the limit was, for [`stop`].
pub fn start(level: LevelFilter) -> Option<String> {
    static KERNEL: Kernel = Kernel(OnceLock::new());
    let limit = fs::read_to_string(RATE_LIMIT).ok();
    // Refused where the command line has set printk.devkmsg=, which then is the user's wish.
    let _ = fs::write(RATE_LIMIT, "on\n");
    if let Ok(device) = OpenOptions::new().write(true).open("/dev/kmsg")
        && KERNEL.0.set(device).is_ok()
        && log::set_logger(&KERNEL).is_ok()
    {
        log::set_max_level(level);
    }
    limit
}

/// Puts the kernel's limit back to what [`start`] found, for the system that takes over.
pub fn stop(limit: Option<&str>) {
    if let Some(limit) = limit {
        let _ = fs::write(RATE_LIMIT, limit);
    }
}

/// The kernel's log, once it is open.
struct Kernel(OnceLock<File>);

impl Log for Kernel {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let Some(mut device) = self.0.get() else { return };
        for text in records(record.level(), &record.args().to_string()) {
            // A full or missing log must not stop the boot.
            let _ = device.write(text.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// The kernel's records of a message: one for each line, with severity and prefix. Lines too long for one record are
/// continued in the next.
fn records(level: Level, message: &str) -> Vec<String> {
    // syslog(3)'s numbers: with `quiet` on the command line the console shows those below 4.
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    let mut records = Vec::new();
    for line in message.lines() {
        // What a disk's label holds must not steer the terminal.
        let clean: String = line
            .chars()
            .map(|character| if character.is_control() { '?' } else { character })
            .collect();
        for piece in pieces(&clean, RECORD - PREFIX.len() - "<6>\n".len()) {
            records.push(format!("<{severity}>{PREFIX}{piece}\n"));
        }
    }
    records
}

/// Cuts text into pieces of at most `length` bytes, never inside a character; an empty text is one empty piece.
fn pieces(text: &str, length: usize) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while rest.len() > length {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(length));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_record_with_its_severity() {
        for (level, expected) in [
            (Level::Error, "<3>layers-init: no disk\n"),
            (Level::Warn, "<4>layers-init: no disk\n"),
            (Level::Info, "<6>layers-init: no disk\n"),
            (Level::Debug, "<7>layers-init: no disk\n"),
        ] {
            assert_eq!(records(level, "no disk"), [expected]);
        }
    }

    #[test]
    fn further_lines_of_a_message_keep_its_severity() {
        assert_eq!(
            records(Level::Error, "first\n  second"),
            ["<3>layers-init: first\n", "<3>layers-init:   second\n"]
        );
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(records(Level::Info, "a\x1b[2Jb\tc"), ["<6>layers-init: a?[2Jb?c\n"]);
    }

    #[test]
    fn a_long_line_becomes_several_records_below_the_limit() {
        let text = "ü".repeat(2000);
        let records = records(Level::Error, &text);
        assert!(records.len() > 4 && records.iter().all(|record| record.len() <= RECORD));
        let joined: String =
            records.iter().map(|record| record["<3>layers-init: ".len()..].trim_end()).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn the_log_writes_what_it_is_given() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let kernel = Kernel(OnceLock::from(path.reopen().unwrap()));
        let arguments = format_args!("device {}\nlisted", 7);
        kernel.log(&Record::builder().level(Level::Warn).args(arguments).build());
        let text = fs::read_to_string(path.path()).unwrap();
        assert_eq!(text, "<4>layers-init: device 7\n<4>layers-init: listed\n");
    }
}
