//! Positions over time.

use crate::time::Timestamp;

/// A time by which all records below a position had been applied.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: Timestamp,
    pub(super) position: i64,
}
