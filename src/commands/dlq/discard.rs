//! `sundown dlq discard`.

use anyhow::bail;
use clap::Args;

use super::list;
use crate::dead_letters::discard::redrive;
use crate::dead_letters::redrive::Watched;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, OutputArgs};

pub(super) fn run(args: &DiscardArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    if !args.yes && !args.selection.dry_run {
        bail!(
            "what is discarded is never acted on; pass --yes if that is what you want, or \
             --dry-run to see what it would be"
        );
    }
    let outcome = redrive(&args.selection, global, Watched::Yes)?;
    list::tell_left(&outcome);
    if args.selection.dry_run {
        return list::print(&outcome.planned, OutputArgs::default());
    }
    output::line(format!("{} discarded", outcome.processed));
    Ok(())
}

/// What `discard` takes.
#[derive(Args, Clone, Debug)]
pub struct DiscardArgs {
    /// Which letters.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Yes, let go of them.
    #[arg(short, long, env = "SUNDOWN_YES")]
    pub yes: bool,
}
