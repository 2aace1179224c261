//! What a command prints: one value, as a table for people or as JSON for machines.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::exit::CliError;
use super::table::Table;

/// How a command speaks. Answers go to stdout; progress and remarks to stderr.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// For machines if `json`.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether machines read it.
    #[must_use]
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints the answer: `value` as JSON, or what `human` makes of it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn print<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        Self::write(&self.text(value, human)?)
    }

    /// The same on stderr, for a command whose stdout holds something else.
    ///
    /// # Errors
    /// When the value cannot be JSON.
    pub fn print_aside<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        eprint!("{}", self.text(value, human)?);
        Ok(())
    }

    fn text<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> Result<String, CliError> {
        if !self.json {
            return Ok(human(value));
        }
        let text = serde_json::to_string_pretty(value).map_err(CliError::usage)?;
        Ok(text + "\n")
    }

    /// Prints a list: an array as JSON, or a table, or one line that says there is nothing.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn list<T: Serialize>(
        self,
        items: &[T],
        nothing: &str,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), CliError> {
        self.print(&items, |items| match table(items) {
            table if table.is_empty() => format!("{nothing}\n"),
            table => table.to_string(),
        })
    }

    /// Says on stderr why a command did not do its work.
    pub fn error(self, error: &CliError) {
        match self.json {
            true => eprintln!("{}", error.as_json()),
            false => eprintln!("counterfoil: {error}"),
        }
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// When stdout cannot be written. A reader that has gone (`| head`) is no error.
    pub fn write(text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::unavailable(error)),
            _ => Ok(()),
        }
    }

    /// A bar for long work, with rate and time left; drawn on a terminal alone. `total` 0: not known.
    #[must_use]
    pub fn progress(self, what: &'static str, total: u64) -> ProgressBar {
        let target = if self.json || !io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let length = (total > 0).then_some(total);
        let bar = ProgressBar::with_draw_target(length, target).with_message(what);
        let template = match length {
            Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
            None => "{msg} {spinner} {human_pos} {per_sec}",
        };
        // The templates are constants; a bar in the default style is the worst that a mistake in them makes.
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}
