//! The `sundown` binary: maps the result of a command to an exit code.

use std::process::ExitCode;

use clap::Parser;
use sundown::cli::{Cli, run};

fn main() -> ExitCode {
    // Exits with code 2 on usage errors.
    let cli = Cli::parse();
    sundown::panics::end_process();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sundown::output::error(&error);
            ExitCode::FAILURE
        }
    }
}
