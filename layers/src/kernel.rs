//! The kernel of a generation, its initrd, and the arguments that it is started with.

use serde::Serialize;

use crate::id::Digest;
use crate::record::{Record, RecordError};

/// The most bytes that a generation's kernel arguments may have, blanks between them included: the smallest limit of a
/// common architecture is x86's 2048 (`COMMAND_LINE_SIZE`), and a boot entry adds arguments of its own.
pub const OPTIONS_MAX: usize = 1536;

/// The longest release of a kernel (`__NEW_UTS_LEN`, uname(2)), in bytes.
pub const RELEASE_MAX: usize = 64;

/// A file that the store has by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Blob {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The kernel that a base brings, with the initrd that was built for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its release, as `uname -r` prints it.
    pub version: String,
    /// The kernel.
    pub linux: Blob,
    /// Its initrd.
    pub initrd: Blob,
}

/// Which of a kernel's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The kernel itself.
    Linux,
    /// Its initrd.
    Initrd,
}

impl Part {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "kernel",
            Self::Initrd => "initrd",
        }
    }
}

/// A kernel's file by its content: what both the store and the boot partition name it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelFile {
    /// Kernel or initrd.
    pub part: Part,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl Kernel {
    pub(crate) fn read(record: Record<'_>) -> Result<Self, RecordError> {
        record.only(&["version", "linux", "initrd"])?;
        let blob = |key| -> Result<Blob, RecordError> {
            let missing = || record.refuse(key, "is missing");
            let blob = record.table(key)?.ok_or_else(missing)?;
            blob.only(&["digest", "size"])?;
            Ok(Blob { digest: blob.parsed("digest")?, size: blob.number("size")? })
        };
        Ok(Self {
            version: record.parsed("version")?,
            linux: blob("linux")?,
            initrd: blob("initrd")?,
        })
    }

    /// Both files with their lengths in bytes, the kernel first.
    pub fn files(&self) -> [(KernelFile, u64); 2] {
        [(Part::Linux, self.linux), (Part::Initrd, self.initrd)]
            .map(|(part, blob)| (KernelFile { part, digest: blob.digest }, blob.size))
    }

    /// Whether a record's kernel is one; the text says why not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        let version = &self.version;
        if version.is_empty() || version.len() > RELEASE_MAX || !version.bytes().all(plain) {
            return Err(format!("{version:?} is no kernel's release"));
        }
        Ok(())
    }
}

/// Compares two kernels' releases: the newer one is greater (UAPI.10).
pub fn compare_releases(a: &str, b: &str) -> std::cmp::Ordering {
    uapi_version::strverscmp(a, b)
}

/// Whether each of `options` is one kernel argument and all together are not too long; the text says which is not.
pub fn check_options(options: &[String]) -> Result<(), String> {
    options.iter().try_for_each(|option| check_option(option))?;
    let length = options.iter().map(|option| option.len() + 1).sum::<usize>().saturating_sub(1);
    if length > OPTIONS_MAX {
        return Err(format!("the kernel arguments have {length} bytes, at most {OPTIONS_MAX} fit"));
    }
    Ok(())
}

/// Whether `option` is one word of a kernel command line: blanks only between double quotes, which come in pairs (Linux,
/// lib/cmdline.c, `next_arg`), and no control character; the text says what is wrong.
pub fn check_option(option: &str) -> Result<(), String> {
    if option.is_empty() {
        return Err("an empty text is no kernel argument".to_owned());
    }
    if option.chars().any(char::is_control) {
        return Err(format!("{option:?} has a control character"));
    }
    // What comes after it is for the system's init, and entries add arguments of their own at the end.
    if option == "--" {
        return Err("-- would end the kernel's arguments".to_owned());
    }
    let mut quoted = false;
    for letter in option.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => {
                return Err(format!(
                    "{option:?} has a blank outside of double quotes: it is more than one argument"
                ));
            }
            _ => {}
        }
    }
    if quoted {
        return Err(format!("{option:?} has a double quote that is not closed"));
    }
    Ok(())
}

/// An argument's key, with `-` and `_` taken for the same as the kernel does, and its value.
pub fn key_and_value(option: &str) -> (String, Option<&str>) {
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option, None),
    };
    (key.trim_start_matches('"').replace('-', "_"), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_one_word() {
        for good in
            ["quiet", "console=ttyS0,115200", "a=b=c", "dyndbg=\"file a.c +p\"", "\"a b=c\"", "ä=ö"]
        {
            assert_eq!(check_option(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a=\"b c", "a\nb", "a\tb", "a=\"b\u{7}\"", "--", " a", "a=\"b\" c\""]
        {
            assert!(check_option(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_have_a_length_that_every_kernel_takes() {
        let of = |length: usize| vec!["a".repeat(length - 2), "b".to_owned()];
        assert_eq!(check_options(&of(OPTIONS_MAX)), Ok(()));
        assert!(check_options(&of(OPTIONS_MAX + 1)).is_err());
        assert_eq!(check_options(&[]), Ok(()));
    }

    #[test]
    fn keys_are_compared_as_the_kernel_does() {
        assert_eq!(key_and_value("no-hlt"), ("no_hlt".to_owned(), None));
        assert_eq!(key_and_value("a=b=c"), ("a".to_owned(), Some("b=c")));
        assert_eq!(key_and_value("\"a b=c\""), ("a b".to_owned(), Some("c\"")));
    }
}
