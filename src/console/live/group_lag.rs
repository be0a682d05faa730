//! The lag of a consumer group.

use crate::kafka::group_offsets::PartitionOffsets;

/// How far a group is behind on its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// The group.
    pub group: String,
    /// Its topic.
    pub topic: String,
    /// Each partition, in order.
    pub partitions: Vec<PartitionOffsets>,
}

impl GroupLag {
    /// Uncommitted offsets of all partitions, of a group that starts at the
    /// beginning.
    #[must_use]
    pub fn uncommitted(&self) -> i64 {
        let lags = self.partitions.iter().map(|one| one.uncommitted());
        lags.sum()
    }
}
