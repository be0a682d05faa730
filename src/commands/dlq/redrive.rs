//! `sundown dlq redrive`: writes dead letters back to their source topics.

use clap::Args;

use super::list;
use crate::dead_letters::process::ProgressBarMode;
use crate::dead_letters::redrive::redrive;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, OutputArgs};

pub(super) fn run(args: &RedriveArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let summary = redrive(&args.selection, global, ProgressBarMode::Shown)?;
    list::note_skipped(&summary);
    if args.selection.dry_run {
        return list::print(&summary.planned, OutputArgs::default());
    }
    output::line(format!("{} redriven", summary.processed));
    Ok(())
}

/// Flags of `sundown dlq redrive`.
#[derive(Args, Clone, Debug)]
pub struct RedriveArgs {
    #[command(flatten)]
    pub selection: SelectionArgs,
}
