//! Timers that have fired.

use crate::slots::SlotId;
use crate::time::Timestamp;

/// A session whose timer has fired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) slot: SlotId,
}
