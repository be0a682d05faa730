//! What commands print: results on stdout, one line of error on stderr.
#![expect(clippy::print_stderr, reason = "this is the file that may")]

use std::io::Write;

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
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{cause}");
        }
    }
    eprintln!("error: {text}");
}
