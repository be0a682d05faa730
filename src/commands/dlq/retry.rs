//! `sundown dlq retry`.

use clap::Args;

use super::list;
use crate::dead_letters::redrive::Watched;
use crate::dead_letters::retry::redrive;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, OutputArgs};

pub(super) fn run(args: &RetryArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let outcome = redrive(&args.selection, global, Watched::Yes)?;
    list::note_skipped(&outcome);
    if args.selection.dry_run {
        return list::print(&outcome.planned, OutputArgs::default());
    }
    output::line(format!("{} retried", outcome.processed));
    Ok(())
}

/// Flags of `sundown dlq retry`.
#[derive(Args, Clone, Debug)]
pub struct RetryArgs {
    #[command(flatten)]
    pub selection: SelectionArgs,
}
