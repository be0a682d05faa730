//! How far an assigned partition has come.

/// How far an assigned partition has come.
#[derive(Debug)]
pub(super) struct ReadPartition {
    /// The offset of the first record that has not been read.
    pub(super) next: i64,
    /// The position that is committed.
    pub(super) committed: Option<i64>,
    /// The record that waits for a schema, or is being fetched again after that. Until it arrives,
    /// librdkafka's position may be past it.
    pub(super) awaited: Option<i64>,
}

/// The record that a partition waited for was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "offset {awaited} of partition {partition} was deleted while it waited for its schema; the next is {next}"
)]
pub struct AwaitedDeleted {
    partition: i32,
    awaited: i64,
    next: i64,
}

impl ReadPartition {
    /// Checks that no record is passed over after a partition has waited.
    pub(super) fn check_awaited(&self, partition: i32, offset: i64) -> Result<(), AwaitedDeleted> {
        match self.awaited {
            Some(awaited) if awaited != offset => Err(AwaitedDeleted {
                partition,
                awaited,
                next: offset,
            }),
            _ => Ok(()),
        }
    }
}
