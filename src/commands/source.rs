//! `sundown source`: manages session sources without Kubernetes.

mod apply;
mod args;
mod delete;
mod get;
mod sample;
mod test;
mod validate;

use clap::Subcommand;

use crate::kafka::args::GlobalArgs;
use crate::source::topic::PublishedSources;
pub use args::SourceFileArgs;

/// Subcommands of `sundown source`.
#[derive(Subcommand, Debug)]
pub enum SourceCommand {
    /// Apply sources: running ingest processes read their topics within seconds.
    ///
    /// Validates all sources, then writes all of them to the policy topic, without a namespace.
    Apply(SourceFileArgs),
    /// Show active sources.
    Get(get::GetSourceArgs),
    /// Delete sources: ingest stops reading their topics, and trackers no longer wait for it.
    Delete(delete::DeleteSourceArgs),
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let topic = || PublishedSources::new(global);
    match command {
        SourceCommand::Apply(args) => runtime.block_on(apply::run(args, &topic()?)),
        SourceCommand::Get(args) => runtime.block_on(get::run(args, &topic()?)),
        SourceCommand::Delete(args) => runtime.block_on(delete::run(args, &topic()?)),
        SourceCommand::Validate(args) => validate::run(args),
        SourceCommand::Test(args) => test::run(args, global, &runtime),
    }
}
