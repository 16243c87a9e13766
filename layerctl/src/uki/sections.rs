//! The sections of a unified kernel image, as arguments of objcopy(1): pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::pe::Program;

/// A section to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Its name: `.linux`.
    pub(super) name: &'static str,
    /// The file that holds it.
    pub(super) file: PathBuf,
    /// How many bytes that are.
    pub(super) size: u64,
}

/// The longest command line that Linux takes without cutting it (`COMMAND_LINE_SIZE` of x86, less the zero at its end).
const CMDLINE_MAX: usize = 2047;

/// Why a text cannot be the embedded command line; nothing where it can.
pub(super) fn objection(cmdline: &str) -> Option<String> {
    if cmdline.is_empty() {
        // systemd-stub takes an empty section for none.
        return Some(
            "it is empty, and a boot loader's words would be taken in its place".to_owned(),
        );
    }
    if cmdline.contains(|letter: char| letter.is_control()) {
        return Some("it has a line break or another control character".to_owned());
    }
    let length = cmdline.len();
    (length > CMDLINE_MAX)
        .then(|| format!("it has {length} bytes, and the kernel takes {CMDLINE_MAX}"))
}

/// The arguments that put `sections` behind those of the stub, one after the other. The kernel comes last: older stubs
/// unpack it in place, over what follows it (ukify does likewise).
pub(super) fn arguments(stub: &Program, sections: &[Section]) -> Vec<OsString> {
    let mut next = stub.base.saturating_add(stub.end);
    let mut arguments = Vec::new();
    for Section { name, file, size } in sections {
        let mut content = OsString::from(format!("{name}="));
        content.push(file);
        arguments.extend([OsString::from("--add-section"), content]);
        let flags = format!("{name}=contents,alloc,load,readonly,data");
        arguments.extend(["--set-section-flags".into(), flags.into()]);
        let place = format!("{name}={next:#x}");
        arguments.extend(["--change-section-vma".into(), place.into()]);
        next = next.saturating_add((*size).max(1).next_multiple_of(stub.alignment));
    }
    arguments
}

/// A file of a work directory with one section in it.
pub(super) fn file(work: &Path, section: &str) -> PathBuf {
    work.join(section.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::super::pe::Machine;
    use super::*;

    #[test]
    fn sections_follow_each_other_without_touching() {
        let stub = Program {
            machine: Machine::X64,
            base: 0x1_4000_0000,
            alignment: 0x1000,
            end: 0x4000,
            headers: 0,
        };
        let section = |name, size| Section { name, file: format!("/w/{name}").into(), size };
        let sections =
            [section(".a", 0x1000), section(".b", 0x1001), section(".c", 0), section(".d", 1)];
        let words = arguments(&stub, &sections);
        let places: Vec<&str> = words
            .iter()
            .filter_map(|word| word.to_str())
            .filter(|word| word.contains("=0x"))
            .collect();
        assert_eq!(
            places,
            [".a=0x140004000", ".b=0x140005000", ".c=0x140007000", ".d=0x140008000"]
        );
        assert_eq!(words[..2], ["--add-section", ".a=/w/.a"]);
    }

    #[test]
    fn a_command_line_is_one_line_that_the_kernel_takes_whole() {
        assert_eq!(objection("panic=10 a=\"b c\""), None);
        assert_eq!(objection(&"x".repeat(CMDLINE_MAX)), None);
        assert!(objection(&"x".repeat(CMDLINE_MAX + 1)).is_some());
        assert!(objection("").is_some());
        assert!(objection("a\nb").is_some() && objection("a\0").is_some());
    }
}
