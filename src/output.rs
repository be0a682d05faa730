//! Output of commands: results on stdout; notes and errors on stderr.
#![expect(clippy::print_stderr, reason = "the only module that prints to stderr")]

use std::io::Write;

pub mod progress;
mod prompt;
mod table;

pub use prompt::confirm;
pub use table::{Format, OutputArgs, table};

/// Prints a line of the result to stdout.
pub fn line(text: impl std::fmt::Display) {
    // The reader may have closed the pipe, as in `sundown … | head`.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// Prints a progress message, prompt or hint to stderr.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Prints an error with its causes to stderr, on one line; see [`chain`].
pub fn error(error: &anyhow::Error) {
    eprintln!("error: {}", chain(error.as_ref()));
}

/// Formats an error with its causes on one line. Skips causes that a message already
/// includes.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
