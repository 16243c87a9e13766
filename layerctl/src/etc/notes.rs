//! The report of how an /etc came about, and which of its notes are dealt with.

#![expect(clippy::disallowed_methods, reason = "reads the report")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use layers::etc::report::{Note, Report};
use layers::id::GenerationId;
use layers::layout::BootPaths;
use layers::plan::Op;
use layers::plan::change::Refusal;

use super::path::EtcPath;
use crate::context::{Context, Store};
use crate::error::Error;

/// A report and where it is.
#[derive(Debug)]
pub(crate) struct Notes {
    path: PathBuf,
    /// What it says.
    pub(crate) report: Report,
}

impl Notes {
    /// Reads the report of a generation's /etc, if there is one: that of this boot, where it could not be kept with the
    /// generation, before the generation's own.
    pub(crate) fn read(
        context: &Context,
        store: &Store,
        id: GenerationId,
    ) -> Result<Option<Self>, Error> {
        let booted = context.is_running_system() && store.state.booted == Some(id);
        let of_this_boot = booted.then(|| PathBuf::from(BootPaths::ETC_REPORT));
        for path in of_this_boot.into_iter().chain([store.layout.etc_report(id)]) {
            match fs::read_to_string(&path) {
                Ok(text) => return Self::parse(path, &text).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path, error)),
            }
        }
        Ok(None)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Error> {
        match Report::parse(text) {
            Ok(report) => Ok(Self { path, report }),
            Err(why) => {
                let path = path.display();
                let what = format!("the report {path} cannot be read: {why}");
                let hint = format!("it only informs; to go on without it: rm {path}");
                Err(Refusal::new(what, hint).into())
            }
        }
    }

    /// Marks the open notes on what is at or below the paths as dealt with; gives the paths that they are about.
    pub(crate) fn resolve(&mut self, paths: &[EtcPath]) -> BTreeSet<String> {
        let wanted = |note: &Note| {
            paths.iter().any(|path| {
                let rest = note.path.strip_prefix(&path.to_string());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let notes = self.report.notes.iter_mut();
        let open = notes.filter(|note| !note.resolved && note.kind.is_conflict() && wanted(note));
        let settle = |note: &mut Note| {
            note.resolved = true;
            note.path.clone()
        };
        open.map(settle).collect()
    }

    /// What publishes the report: with the generation where the boot keeps what is written, else for this boot alone.
    pub(crate) fn publish(&self, persists: bool) -> Result<Op, Error> {
        let path = if persists { self.path.clone() } else { BootPaths::ETC_REPORT.into() };
        match self.report.to_text() {
            Ok(text) => Ok(Op::WriteFile { path, text }),
            Err(error) => Err(Error::io("write", &path, io::Error::other(error))),
        }
    }
}
