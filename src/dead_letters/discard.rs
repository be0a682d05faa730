//! Discards dead letters.

use super::kind::Kind;
use super::selection::SelectionArgs;
use crate::dead_letters::letter::Letter;
use crate::dead_letters::redrive::{Outcome, Outgoing, Settlement, Watched, settle};
use crate::kafka::args::GlobalArgs;

pub(crate) fn treat(
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
