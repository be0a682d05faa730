//! Timers that have fired.

use crate::slots::SlotId;
use crate::time::Timestamp;

/// A session whose timer has fired, in the order of its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) start_offset: i64,
    pub(super) slot: SlotId,
}
