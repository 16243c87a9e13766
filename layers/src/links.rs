//! The entries of a manifest's [`Links`](crate::manifest::Links): a soname, or one with a version of the GNU C library,
//! as RPM writes it: `libc.so.6(GLIBC_2.38)`.

use std::fmt;

/// How the C library's symbol versions begin.
const PREFIX: &str = "GLIBC_";

/// A version of the GNU C library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(Vec<u32>);

impl Glibc {
    /// Reads a symbol version: `GLIBC_2.38`. Names such as `GLIBC_PRIVATE` are no version.
    pub fn of_symbol(name: &str) -> Option<Self> {
        let numbers = name.strip_prefix(PREFIX)?;
        numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>().map(Self)
    }

    /// An entry of a manifest that says that `library` has this version.
    pub fn entry(&self, library: &str) -> String {
        format!("{library}({PREFIX}{self})")
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// An entry's soname, and the C library's version in it.
pub fn parts(entry: &str) -> (&str, Option<Glibc>) {
    match entry.split_once('(') {
        Some((soname, version)) => (soname, version.strip_suffix(')').and_then(Glibc::of_symbol)),
        None => (entry, None),
    }
}

/// The newest version of the C library that the entries name.
pub fn newest_glibc(entries: &[String]) -> Option<Glibc> {
    entries.iter().filter_map(|entry| parts(entry).1).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_numbers() {
        let entries = [
            "libc.so.6",
            "libc.so.6(GLIBC_2.4)",
            "libm.so.6(GLIBC_2.2.5)",
            "libm.so.6(GLIBC_2.29)",
        ];
        let newest = newest_glibc(&entries.map(str::to_owned)).unwrap();
        assert_eq!(newest.to_string(), "2.29");
        assert_eq!(newest.entry("libm.so.6"), "libm.so.6(GLIBC_2.29)");
        assert_eq!(newest_glibc(&["libjq.so.1".to_owned(), "x(GLIBC_PRIVATE)".to_owned()]), None);
        assert_eq!(parts("libz.so.1"), ("libz.so.1", None));
        assert_eq!(parts("x(GLIBC_2.99999999999)"), ("x", None));
    }
}
