//! `sundown dlq discard`.

use anyhow::bail;

use super::{DiscardArgs, Kind, SelectionArgs, list};
use crate::cli::GlobalArgs;
use crate::dead_letters::letter::Letter;
use crate::dead_letters::redrive::{Outcome, Outgoing, Settlement, Watched, settle};
use crate::output::{self, OutputArgs};

pub(super) fn run(args: &DiscardArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    if !args.yes && !args.selection.dry_run {
        bail!(
            "what is discarded is never acted on; pass --yes if that is what you want, or \
             --dry-run to see what it would be"
        );
    }
    let outcome = treat(&args.selection, global, Watched::Yes)?;
    list::tell_left(&outcome);
    if args.selection.dry_run {
        return list::print(&outcome.planned, OutputArgs::default());
    }
    output::line(format!("{} discarded", outcome.settled));
    Ok(())
}

pub(super) fn treat(
    selection: &SelectionArgs,
    global: &GlobalArgs,
    watched: Watched,
) -> anyhow::Result<Outcome> {
    settle(&Discard, selection, global, watched)
}

struct Discard;

impl Settlement for Discard {
    const NAME: &'static str = "discarded";

    fn write(&self, _kind: Kind, _letter: &Letter) -> Result<Option<Outgoing>, String> {
        Ok(None)
    }
}
