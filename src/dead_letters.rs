//! Dead letters: read, listed, redriven and discarded.

pub mod discard;
pub mod filter;
pub mod kind;
pub mod letter;
pub mod process;
pub mod redrive;
pub mod rejected_record;
pub mod scan;
pub mod selection;

use crate::kafka::args::GlobalArgs;
use process::{ProcessSummary, ProgressBarMode};
use selection::SelectionArgs;

/// How dead letters are processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Written back to their source topics.
    Redrive,
    /// Marked as processed and left to retention.
    Discard,
}

/// Processes the selected dead letters, or lists them in a dry run. Blocks. If interrupted, it
/// leaves letters unchanged whose transaction was not committed.
///
/// # Errors
/// If the cluster cannot be reached, refuses a write, or the selection is inconsistent.
pub fn process(
    disposition: Disposition,
    selection: &SelectionArgs,
    global: &GlobalArgs,
) -> anyhow::Result<ProcessSummary> {
    let mode = ProgressBarMode::Hidden;
    match disposition {
        Disposition::Redrive => redrive::redrive(selection, global, mode),
        Disposition::Discard => discard::discard(selection, global, mode),
    }
}
