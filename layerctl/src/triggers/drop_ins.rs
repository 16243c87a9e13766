//! Tables of triggers that machines, bases and layers bring: `*.toml` in a directory, in the order of their names.

#![expect(clippy::disallowed_methods, reason = "reads files of the machine")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::table::{Table, TableError};
use super::union::Union;
use crate::context::Context;
use crate::error::Error;

/// Where a machine has its own.
pub(super) const OF_THE_MACHINE: &str = "/etc/layerctl/triggers.d";

/// Where a base or a layer has its own.
const OF_AN_IMAGE: &str = "/usr/lib/layerctl/triggers.d";

impl Table {
    /// The table for the store of a command: a machine's own triggers are for its own store.
    pub(crate) fn of(context: &Context) -> Result<Self, Error> {
        match context.is_running_system() {
            true => Self::load(&[Path::new(OF_THE_MACHINE)]),
            false => Self::load(&[]),
        }
    }

    /// The table that layerctl brings, with what the files in these directories add and replace.
    pub(crate) fn load(directories: &[&Path]) -> Result<Self, Error> {
        let mut table = Self::built_in()?;
        for directory in directories {
            for file in files(directory).map_err(|error| Error::io("read", directory, error))? {
                let text = fs::read_to_string(&file);
                let text = text.map_err(|error| Error::io("read", &file, error))?;
                table.extend_for_good(Self::parse(&text, &file)?);
            }
        }
        Ok(table)
    }
}

/// A table with what the images of a stack add and replace, the topmost last, but for what the administrator says.
pub(super) fn of_images(table: &Table, union: &Union<'_>) -> Result<Table, Error> {
    let mut table = table.clone();
    for image in union.images() {
        for path in image.list(Path::new(OF_AN_IMAGE))?.iter().filter(|path| is_table(path)) {
            let name = PathBuf::from(format!("{} of {}", path.display(), image.image.name));
            let text = String::from_utf8(image.read(path)?.unwrap_or_default());
            let text = text.map_err(|error| Error::io("read", &name, io::Error::other(error)))?;
            table.extend(Table::parse(&text, &name)?);
        }
    }
    table.restore();
    Ok(table)
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry?.path();
        if is_table(&path) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

impl From<TableError> for Error {
    fn from(source: TableError) -> Self {
        Self::Triggers(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_and_directories_win() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let entry =
            |discards: &str| format!("[[trigger]]\nname = \"x\"\ndiscards = [\"{discards}\"]\n");
        fs::write(one.path().join("1.toml"), entry("/one")).unwrap();
        fs::write(one.path().join("2.toml"), entry("/two")).unwrap();
        fs::write(one.path().join("readme"), "no table").unwrap();
        let table = Table::load(&[one.path(), two.path(), Path::new("/nowhere")]).unwrap();
        assert!(table.is_written(Path::new("/two")) && !table.is_written(Path::new("/one")));
        fs::write(two.path().join("a.toml"), entry("/three")).unwrap();
        let table = Table::load(&[one.path(), two.path()]).unwrap();
        assert!(table.is_written(Path::new("/three")) && !table.is_written(Path::new("/two")));
        fs::write(two.path().join("b.toml"), "[[trigger]]\n").unwrap();
        let error = Table::load(&[two.path()]).unwrap_err().to_string();
        assert!(error.contains("b.toml line 1: missing field `name`"), "{error}");
    }
}
