//! Dead letters of both kinds: found, shown, redriven and discarded.

pub mod discard;
pub mod filter;
pub mod kind;
pub mod letter;
pub mod redrive;
pub mod retry;
pub mod scan;
pub mod selection;

use crate::kafka::args::GlobalArgs;
use redrive::{Outcome, Watched};
use selection::SelectionArgs;

/// What is to become of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// They are tried again.
    Retry,
    /// They are let go of.
    Discard,
}

/// Deals with the letters that are meant, or only finds them if it is a dry run. Blocks; what
/// it has not committed when it is interrupted is as it was.
///
/// # Errors
/// If the cluster cannot be reached or refuses, or the selection contradicts itself.
pub fn redrive(
    treatment: Disposition,
    selection: &SelectionArgs,
    global: &GlobalArgs,
) -> anyhow::Result<Outcome> {
    match treatment {
        Disposition::Retry => retry::redrive(selection, global, Watched::No),
        Disposition::Discard => discard::redrive(selection, global, Watched::No),
    }
}
