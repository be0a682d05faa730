//! `sundown source delete`.

use clap::Args;

use super::args::RESOURCE_NAME;
use crate::commands::deletion::{self, existing};
use crate::output;
use crate::source::topic::PublishedSources;

/// Flags of `sundown source delete`.
#[derive(Args, Clone, Debug)]
pub struct DeleteSourceArgs {
    /// Names of the sources, as shown by `get`.
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    /// Ignore sources that do not exist.
    #[arg(long)]
    pub ignore_not_found: bool,
}

pub(super) async fn run(args: &DeleteSourceArgs, topic: &PublishedSources) -> anyhow::Result<()> {
    let store = topic.read(output::note).await?;
    let exists = |name: &str| store.document(name).is_some();
    let known = existing("source", &args.names, exists, args.ignore_not_found)?;
    topic.write(known.iter().map(|name| (*name, None))).await?;
    for name in known {
        deletion::print("source", RESOURCE_NAME, name);
    }
    Ok(())
}
