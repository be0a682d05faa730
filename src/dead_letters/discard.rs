//! Discards dead letters.

use super::kind::DeadLetterKind;
use super::letter::DeadLetter;
use super::process::{ProcessSummary, Processor, ProgressBarMode, RedriveRecord, process};
use super::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;

pub(crate) fn discard(
    selection: &SelectionArgs,
    global: &GlobalArgs,
    mode: ProgressBarMode,
) -> anyhow::Result<ProcessSummary> {
    process(&Discard, selection, global, mode)
}

struct Discard;

impl Processor for Discard {
    const PROCESSED_AS: &'static str = "discarded";

    fn record(
        &self,
        _kind: DeadLetterKind,
        _letter: &DeadLetter,
    ) -> Result<Option<RedriveRecord>, String> {
        Ok(None)
    }
}
