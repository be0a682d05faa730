//! The size of a transaction, and the partitions that take turns in it.

/// The most that goes into one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLimits {
    /// Terminal events, warnings and dead letters.
    pub outputs: usize,
    /// Checkpoint records of new and changed sessions; and as many again of those that are
    /// written anew for being out of date.
    pub stores: usize,
}

impl Default for TransactionLimits {
    /// A few tenths of a second of a broker's time.
    fn default() -> Self {
        Self {
            outputs: 20_000,
            stores: 100_000,
        }
    }
}

/// The partitions whose turn it is.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    pub(super) endings: i32,
    pub(super) rewrites: i32,
}
