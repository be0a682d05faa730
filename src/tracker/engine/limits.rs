//! The size of a transaction, and the turns of partitions in it.

/// The size of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLimits {
    /// Bounds terminal events, warnings and dead letters.
    pub outputs: usize,
    /// Bounds checkpoint records of new and changed sessions; and again those that are
    /// rewritten because they are out of date.
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

/// The partition that takes the next turn.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// For endings and warnings.
    pub(super) endings: i32,
    /// For checkpoint records that are out of date.
    pub(super) rewrites: i32,
}
