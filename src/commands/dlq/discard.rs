//! `sundown dlq discard`.

use anyhow::bail;
use clap::Args;

use super::list;
use crate::dead_letters::discard::discard;
use crate::dead_letters::process::ProgressBarMode;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, OutputArgs};

pub(super) fn run(args: &DiscardArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    if !args.yes && !args.selection.dry_run {
        bail!(
            "discarded letters are never handled again; pass --yes to confirm, or --dry-run to list \
             them"
        );
    }
    let summary = discard(&args.selection, global, ProgressBarMode::Shown)?;
    list::note_skipped(&summary);
    if args.selection.dry_run {
        return list::print(&summary.planned, OutputArgs::default());
    }
    output::line(format!("{} discarded", summary.processed));
    Ok(())
}

/// Flags of `sundown dlq discard`.
#[derive(Args, Clone, Debug)]
pub struct DiscardArgs {
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Confirm the discard.
    #[arg(short, long, env = "SUNDOWN_YES")]
    pub yes: bool,
}
