//! Offsets reached over time.

use crate::time::Timestamp;

/// At this time, everything below this offset had been applied.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) position: i64,
}
