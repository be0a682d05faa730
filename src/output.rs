//! What commands print: results on stdout, one line of error on stderr.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the file that may"
)]

/// A line of result.
pub fn line(text: impl std::fmt::Display) {
    println!("{text}");
}

/// A line for people on stderr: progress, questions, hints.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// What made the command fail, with all its causes, on one line.
pub fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
