//! `sundown source`: manages session sources without Kubernetes.

mod sample;
mod test;
mod validate;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::kafka::args::GlobalArgs;
use crate::output;
use crate::source::file::read;
use crate::source::yaml::ParsedSource;

/// Subcommands of `sundown source`.
#[derive(Subcommand, Debug)]
pub enum SourceCommand {
    /// Validate sources: formats, patterns and expressions. Needs no Kafka.
    Validate(SourceFileArgs),
    /// Show what a source makes of records of a file or a topic. Writes nothing.
    Test(test::SourceTestArgs),
}

/// Files of sources.
#[derive(Args, Clone, Debug)]
pub struct SourceFileArgs {
    /// YAML file of SessionSource documents, a directory of such files, or - for standard
    /// input; can be repeated.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub filename: Vec<PathBuf>,
}

impl SourceFileArgs {
    /// Reads the sources, and prints all problems.
    ///
    /// # Errors
    /// If a file cannot be read, a source is invalid, or there is none.
    fn read_valid(&self) -> anyhow::Result<Vec<ParsedSource>> {
        let input = read(&self.filename)?;
        input.problems.iter().for_each(output::note);
        match (input.problems.len(), input.sources.len()) {
            (0, 0) => bail!("there is no source in the given files: check -f"),
            (0, _) => Ok(input.sources),
            (1, _) => bail!("1 source is invalid: correct it"),
            (several, _) => bail!("{several} sources are invalid: correct them"),
        }
    }
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
