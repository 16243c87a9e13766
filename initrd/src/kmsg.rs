//! The log: through simplelog into /dev/kmsg, where the kernel keeps it and shows it on the console
//! (Documentation/ABI/testing/dev-kmsg).

#![expect(clippy::disallowed_methods, reason = "opens /dev/kmsg and a sysctl")]

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
};

use simplelog::{ConfigBuilder, LevelFilter, WriteLogger};

// One write is one record; longer ones are refused (devkmsg_write in kernel/printk/printk.c) or cut.
const RECORD: usize = 975;
const PREFIX: &str = "layers-init: ";
const RATE_LIMIT: &str = "/proc/sys/kernel/printk_devkmsg";

/// Starts logging to /dev/kmsg and lifts the kernel's limit of 10 records in 5 s; needs /dev and /proc.
///
/// Without /dev/kmsg nothing is logged: a boot does not fail for its log. Returns what the limit was, for [`stop`].
pub fn start(level: LevelFilter) -> Option<String> {
    let limit = fs::read_to_string(RATE_LIMIT).ok();
    // Refused where the command line has set printk.devkmsg=, which then is the user's wish.
    let _ = fs::write(RATE_LIMIT, "on\n");
    if let Ok(device) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let config = ConfigBuilder::new()
            .set_time_level(LevelFilter::Off)
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .set_level_padding(simplelog::LevelPadding::Off)
            .set_max_level(LevelFilter::Error)
            .build();
        let _ = WriteLogger::init(level, config, Records::new(device));
    }
    limit
}

/// Puts the kernel's limit back to what [`start`] found, for the system that takes over.
pub fn stop(limit: Option<&str>) {
    if let Some(limit) = limit {
        let _ = fs::write(RATE_LIMIT, limit);
    }
}

/// A writer that makes kernel log records of text: one write(2) for each line, with severity and prefix.
///
/// A line that begins with simplelog's `[ERROR] `, `[WARN] `, … takes that severity, and so do the lines after it.
/// Lines too long for one record are continued in the next.
#[derive(Debug)]
pub struct Records<W> {
    device: W,
    line: Vec<u8>,
    severity: u8,
}

impl<W: Write> Records<W> {
    /// Records into `device`.
    pub fn new(device: W) -> Self {
        Self { device, line: Vec::new(), severity: 6 }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = match severity(&text) {
            Some((severity, rest)) => {
                self.severity = severity;
                rest
            }
            None => text.as_ref(),
        };
        // What a disk's label holds must not steer the terminal.
        let clean: String = text
            .chars()
            .map(|character| if character.is_control() { '?' } else { character })
            .collect();
        for piece in pieces(&clean, RECORD - PREFIX.len() - "<6>\n".len()) {
            // A full or missing log must not stop the boot.
            let _ = self.device.write(format!("<{}>{PREFIX}{piece}\n", self.severity).as_bytes());
        }
    }
}

impl<W: Write> Write for Records<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part.split_last() {
                Some((b'\n', text)) => {
                    self.line.extend_from_slice(text);
                    self.end_line();
                }
                _ => self.line.extend_from_slice(part),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// syslog(3)'s numbers: with `quiet` on the command line the console shows those below 4.
fn severity(line: &str) -> Option<(u8, &str)> {
    let (tag, rest) = line.split_once("] ")?;
    let severity = match tag {
        "[ERROR" => 3,
        "[WARN" => 4,
        "[INFO" => 6,
        "[DEBUG" | "[TRACE" => 7,
        _ => return None,
    };
    Some((severity, rest))
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

    /// Keeps every write(2) apart.
    #[derive(Default)]
    struct Device(Vec<String>);

    impl Write for Device {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(parts: &[&str]) -> Vec<String> {
        let mut records = Records::new(Device::default());
        for part in parts {
            records.write_all(part.as_bytes()).unwrap();
        }
        records.device.0
    }

    #[test]
    fn a_line_is_one_write_with_its_severity() {
        assert_eq!(written(&["[ERROR] ", "no ", "disk\n"]), ["<3>layers-init: no disk\n"]);
        assert_eq!(
            written(&["[WARN] a\n[INFO] b\n"]),
            ["<4>layers-init: a\n", "<6>layers-init: b\n"]
        );
        assert_eq!(written(&["[DEBUG] c\n"]), ["<7>layers-init: c\n"]);
        assert_eq!(written(&["unfinished"]), [""; 0]);
    }

    #[test]
    fn further_lines_of_a_message_keep_its_severity() {
        assert_eq!(
            written(&["[ERROR] first\n  second\n"]),
            ["<3>layers-init: first\n", "<3>layers-init:   second\n"]
        );
    }

    #[test]
    fn control_characters_and_bad_bytes_are_replaced() {
        let mut records = Records::new(Device::default());
        records.write_all(b"[INFO] a\x1b[2Jb\xff\n").unwrap();
        assert_eq!(records.device.0, ["<6>layers-init: a?[2Jb\u{fffd}\n"]);
    }

    #[test]
    fn a_long_line_becomes_several_records_below_the_limit() {
        let text = "ü".repeat(2000);
        let records = written(&["[ERROR] ", &text, "\n"]);
        assert!(records.len() > 4 && records.iter().all(|record| record.len() <= RECORD));
        let joined: String =
            records.iter().map(|record| record["<3>layers-init: ".len()..].trim_end()).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn simplelog_writes_what_is_read_here() {
        use simplelog::SharedLogger;
        let config = ConfigBuilder::new()
            .set_time_level(LevelFilter::Off)
            .set_level_padding(simplelog::LevelPadding::Off)
            .set_max_level(LevelFilter::Error)
            .build();
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = path.reopen().unwrap();
        let logger = WriteLogger::new(LevelFilter::Info, config, Records::new(file)).as_log();
        let arguments = format_args!("device {}\nlisted", 7);
        logger.log(&log::Record::builder().level(log::Level::Warn).args(arguments).build());
        let text = fs::read_to_string(path.path()).unwrap();
        assert_eq!(text, "<4>layers-init: device 7\n<4>layers-init: listed\n");
    }
}
