//! `sundown dlq discard`.

use anyhow::bail;

use super::letter::Letter;
use super::settle::{Outgoing, Settlement, settle};
use super::{DiscardArgs, Kind, list};
use crate::cli::GlobalArgs;
use crate::output::{self, OutputArgs};

pub(super) fn run(args: &DiscardArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    if !args.yes && !args.selection.dry_run {
        bail!(
            "what is discarded is never acted on; pass --yes if that is what you want, or \
             --dry-run to see what it would be"
        );
    }
    let outcome = settle(&Discard, &args.selection, global)?;
    if args.selection.dry_run {
        return list::print(&outcome.planned, OutputArgs::default());
    }
    output::line(format!("{} discarded", outcome.settled));
    Ok(())
}

struct Discard;

impl Settlement for Discard {
    const NAME: &'static str = "discarded";

    fn write(&self, _kind: Kind, _letter: &Letter) -> Result<Option<Outgoing>, String> {
        Ok(None)
    }
}
