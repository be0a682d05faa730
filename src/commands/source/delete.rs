//! `sundown source delete`.

use anyhow::bail;
use clap::Args;

use super::args::RESOURCE_NAME;
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
    let (known, unknown): (Vec<_>, Vec<_>) = args
        .names
        .iter()
        .map(String::as_str)
        .partition(|name| store.document(name).is_some());
    if !args.ignore_not_found && !unknown.is_empty() {
        bail!(
            "there is no source '{}': list sources with sundown source get, or pass --ignore-not-found; nothing has been deleted",
            unknown.join("', nor '")
        );
    }
    topic.write(known.iter().map(|name| (*name, None))).await?;
    for name in known {
        output::line(format_args!("{RESOURCE_NAME}/{name} deleted"));
    }
    Ok(())
}
