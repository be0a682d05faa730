//! What commands print: results on stdout, one line of error on stderr.
#![expect(clippy::print_stderr, reason = "this is the file that may")]

use std::io::Write;

pub mod progress;
mod table;

pub use table::{Format, OutputArgs, table};

/// A line of result.
pub fn line(text: impl std::fmt::Display) {
    // Whoever reads may have had enough, as in `sundown … | head`.
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// A line for people on stderr: progress, questions, hints.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// What made the command fail, with all its causes, on one line. A cause that a message
/// already tells, with the remedy behind it, is not told again.
pub fn error(error: &anyhow::Error) {
    eprintln!("error: {}", chain(error.as_ref()));
}

/// An error with all its causes, on one line. A cause that a message already tells is not
/// told again.
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
