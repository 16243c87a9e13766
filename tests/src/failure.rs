//! What a test returns when a step of it fails: the error with its causes, line feeds kept.

use std::error::Error;
use std::fmt;

/// The text of an error and of its causes. A test that returns it shows a machine's console as lines.
pub struct Failure(String);

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error and its causes, as in "cannot read /x: No such file".
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use std::path::Path;

    #[test]
    fn the_causes_are_shown() {
        let failure = Failure::from(files::read(Path::new("/nowhere")).unwrap_err());
        assert_eq!(
            format!("{failure:?}"),
            "cannot read /nowhere: No such file or directory (os error 2)"
        );
    }
}
