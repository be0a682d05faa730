//! Files of sources on the command line.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::output;
use crate::source::file::read;
use crate::source::yaml::ParsedSource;

/// The qualified resource name, as kubectl prints it.
pub(super) const RESOURCE_NAME: &str = "sessionsource.sundown.dev";

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
    pub(super) fn read_valid(&self) -> anyhow::Result<Vec<ParsedSource>> {
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
