//! Discards dead letters.

use super::kind::Kind;
use super::selection::SelectionArgs;
use crate::dead_letters::letter::DeadLetter;
use crate::dead_letters::redrive::{Outcome, Outgoing, Processor, Watched, process};
use crate::kafka::args::GlobalArgs;

pub(crate) fn redrive(
    selection: &SelectionArgs,
    global: &GlobalArgs,
    watched: Watched,
) -> anyhow::Result<Outcome> {
    process(&Discard, selection, global, watched)
}

struct Discard;

impl Processor for Discard {
    const NAME: &'static str = "discarded";

    fn write(&self, _kind: Kind, _letter: &DeadLetter) -> Result<Option<Outgoing>, String> {
        Ok(None)
    }
}
