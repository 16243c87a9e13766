//! The terminal: data on standard output, words for people on standard error.

use std::error::Error as _;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::LevelFilter;

use crate::error::Error;

/// The number of all forms of JSON that the commands print: a new one means that old readers would misread it.
pub(crate) const SCHEMA: u32 = 1;

/// Where and how things are said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    quiet: bool,
    /// Whether somebody looks at the data on a terminal.
    terminal_out: bool,
    /// Whether data may be coloured.
    colour_out: bool,
    /// Whether words for people may be coloured.
    colour_err: bool,
}

/// An SGR colour (ECMA-48).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    /// What went wrong.
    Red,
    /// What runs.
    Green,
    /// What may need attention.
    Yellow,
    /// What to type.
    Cyan,
}

impl Colour {
    fn paint(self, text: &str, on: bool) -> String {
        let code = match self {
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Yellow => "1;33",
            Self::Cyan => "36",
        };
        if on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Ui {
    /// A terminal that says less when `quiet`, and is coloured where `colour` allows and someone looks at it.
    pub(crate) fn new(quiet: bool, colour: bool) -> Self {
        Self {
            quiet,
            terminal_out: io::stdout().is_terminal(),
            colour_out: colour && io::stdout().is_terminal(),
            colour_err: colour && io::stderr().is_terminal(),
        }
    }

    /// Colours a part of the data.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        colour.paint(text, self.colour_out)
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal_out
    }

    /// Writes data to standard output.
    pub(crate) fn data(&self, data: impl AsRef<[u8]>) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        out.write_all(data.as_ref()).and_then(|()| out.flush()).map_err(Error::Output)
    }

    /// Writes a value as JSON to standard output.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::Output(io::Error::other(error)))?;
        self.data(text + "\n")
    }

    /// Tells people what was done.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    /// Tells people what may need their attention, even when quiet.
    pub(crate) fn warn(&self, line: &str) {
        self.line(&format!("{} {line}", Colour::Yellow.paint("warning:", self.colour_err)));
    }

    /// Says why a command failed: the error, its causes once, what is unharmed, what to type.
    pub(crate) fn failure(&self, error: &Error, writes: bool) {
        let mut said = error.to_string();
        self.line(&format!("{} {said}", Colour::Red.paint("error:", self.colour_err)));
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Most errors here say their cause in their own sentence.
            if !said.contains(&text) {
                self.line(&format!("caused by: {text}"));
                said = text;
            }
            cause = error.source();
        }
        if writes {
            self.line(error.unharmed());
        }
        if let Some(hint) = error.hint() {
            self.line(&format!("{} {hint}", Colour::Cyan.paint("hint:", self.colour_err)));
        }
    }

    /// A progress bar over `total` bytes; only a terminal shows it.
    pub(crate) fn bar(&self, what: &str, total: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(
            "{msg:<24!} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        self.progress(ProgressBar::with_draw_target(Some(total), self.target()), style, what)
    }

    /// A moving sign for work of unknown length; only a terminal shows it.
    pub(crate) fn spinner(&self, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let bar = self.progress(ProgressBar::with_draw_target(None, self.target()), style, what);
        if !bar.is_hidden() {
            keep_moving(&bar);
        }
        bar
    }

    fn progress<E>(
        &self,
        bar: ProgressBar,
        style: Result<ProgressStyle, E>,
        what: &str,
    ) -> ProgressBar {
        let bar = match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        bar.with_message(what.to_owned()).with_finish(indicatif::ProgressFinish::AndClear)
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
    }

    /// Nobody is left to be told when standard error does not take it.
    fn line(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Moves a sign until it is gone. As [`ProgressBar::enable_steady_tick`], which panics where there can be no thread; the
/// sign then stands still.
fn keep_moving(bar: &ProgressBar) {
    let bar = bar.downgrade();
    let tick = move || {
        while let Some(bar) = bar.upgrade().filter(|bar| !bar.is_finished()) {
            bar.tick();
            drop(bar);
            thread::park_timeout(Duration::from_millis(100));
        }
    };
    let _ = thread::Builder::new().spawn(tick);
}

/// Sends the log to standard error: warnings, and with `verbose` every operation and program.
pub(crate) fn start_log(verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Warn };
    let config = simplelog::ConfigBuilder::new()
        .set_time_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    // It fails only where a logger is set already, and this is the one place that sets one.
    let _ = simplelog::WriteLogger::init(level, config, io::stderr());
}
