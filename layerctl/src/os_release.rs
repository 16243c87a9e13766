//! A base's name and version, from os-release(5).

use layers::id::{NAME_MAX, VERSION_MAX};

/// `ID` and `VERSION_ID` (else `BUILD_ID`, else `VERSION_CODENAME`, for systems that roll), made into what a name and
/// a version may be.
pub(crate) fn name_and_version(text: &str) -> (Option<String>, Option<String>) {
    let field = |key: &str| value(text, key).filter(|value| !value.is_empty());
    let version = ["VERSION_ID", "BUILD_ID", "VERSION_CODENAME"].into_iter().find_map(field);
    (
        field("ID").and_then(|id| plain(&id, NAME_MAX, "+.-")),
        version.and_then(|version| plain(&version, VERSION_MAX, "+.~^-")),
    )
}

/// The value of a field, without its quotes.
pub(crate) fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim_matches(['"', '\'']).to_owned())
}

fn plain(text: &str, max: usize, marks: &str) -> Option<String> {
    let usable = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    let text: String = text.chars().map(|c| if usable(c) { c } else { '-' }).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    (!text.is_empty()).then(|| text.chars().take(max).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_version_come_from_the_fields_that_are_there() {
        let cases = [
            ("ID=debian\nVERSION_ID=\"13\"\n", Some("debian"), Some("13")),
            ("NAME=x\nID='arch'\nBUILD_ID=rolling\n", Some("arch"), Some("rolling")),
            ("ID=debian\nVERSION_CODENAME=sid\n", Some("debian"), Some("sid")),
            ("ID=_my os\nVERSION_ID=1:2_3\n", Some("my-os"), Some("1-2-3")),
            ("VERSION_ID=\"\"\nID=\n", None, None),
            ("", None, None),
        ];
        for (text, name, version) in cases {
            let found = name_and_version(text);
            assert_eq!((found.0.as_deref(), found.1.as_deref()), (name, version), "{text:?}");
        }
    }
}
