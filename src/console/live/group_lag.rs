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
    /// What is unfinished on all partitions together, by a group that begins at the
    /// beginning.
    #[must_use]
    pub fn unfinished(&self) -> i64 {
        let lags = self.partitions.iter().map(|one| one.unfinished());
        lags.sum()
    }
}
