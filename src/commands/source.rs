//! `sundown source`: manages session sources without Kubernetes.

mod args;
mod sample;
mod test;
mod validate;

use clap::Subcommand;

use crate::kafka::args::GlobalArgs;
pub use args::SourceFileArgs;

/// Subcommands of `sundown source`.
#[derive(Subcommand, Debug)]
pub enum SourceCommand {
    /// Validate sources: formats, patterns and expressions. Needs no Kafka.
    Validate(SourceFileArgs),
    /// Show what a source makes of records of a file or a topic. Writes nothing.
    Test(test::SourceTestArgs),
}

/// Runs `sundown source`.
///
/// # Errors
/// If sources are invalid, or records cannot be read.
pub fn run(command: &SourceCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    match command {
        SourceCommand::Validate(args) => validate::run(args),
        SourceCommand::Test(args) => test::run(args, global),
    }
}
