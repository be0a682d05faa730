//! The lag of a consumer group.

use crate::kafka::group_offsets::PartitionOffsets;

/// The lag of a consumer group on its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    pub group: String,
    pub topic: String,
    /// All partitions, in order.
    pub partitions: Vec<PartitionOffsets>,
}

impl GroupLag {
    /// Uncommitted offsets of all partitions. A partition without a committed offset counts
    /// from its beginning.
    #[must_use]
    pub fn uncommitted(&self) -> i64 {
        let lags = self.partitions.iter().map(|one| one.uncommitted());
        lags.sum()
    }
}
