//! `sundown`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use sundown::cli::{Cli, run};

fn main() -> ExitCode {
    // Usage errors leave here, with code 2.
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sundown::output::error(&error);
            ExitCode::FAILURE
        }
    }
}
