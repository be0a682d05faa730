//! What [`PartitionManager`](super::PartitionManager) works with: Kafka and clocks, or a simulation.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{BrokerSample, Reading};
use crate::kafka::end_offsets::EndOffsets;
use crate::session::PolicySet;
use crate::tracker::clocks::ClockHold;
use crate::tracker::engine::{Batch, RestoreId};
use crate::tracker::restore::{RestoreSettings, Restored};

/// A member of the consumer group, a producer, restores that run beside it, clocks.
/// Nothing in here waits unless it says so.
pub trait Io {
    /// Why something came to nothing.
    type Error: fmt::Display;
    /// The member's id and generation. The group refuses a commit with one that is out of
    /// date.
    type GroupMetadata;

    /// The clocks.
    fn reading(&self) -> Reading;

    /// Policies, if they have become known or have changed.
    fn policies(&mut self) -> Option<Arc<PolicySet>>;
    /// The partitions that are paused, if that has become known or has changed.
    fn pauses(&mut self) -> Option<BTreeSet<i32>>;
    /// A sample of the brokers' clock, if there is one that has not been taken.
    fn sample(&mut self) -> Option<BrokerSample>;
    /// The brokers' latest answer where partitions end, if it has not been taken.
    fn ends(&mut self) -> Option<EndOffsets>;

    /// Takes over assigned partitions without reading them yet.
    ///
    /// # Errors
    /// If the consumer refuses; the process has to end.
    fn assign_paused(&mut self, partitions: &[i32]) -> anyhow::Result<()>;
    /// Gives revoked or lost partitions back to the group.
    ///
    /// # Errors
    /// If the consumer refuses; the process has to end.
    fn unassign(&mut self, partitions: &[i32]) -> anyhow::Result<()>;
    /// Stops reading partitions.
    fn pause(&mut self, partitions: &[i32]);
    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// If the consumer refuses.
    fn seek(&mut self, partition: i32, offset: i64) -> Result<(), Self::Error>;
    /// Returns the consumer's position in each partition.
    fn positions(&self) -> Vec<(i32, i64)>;

    /// Begins to restore a partition.
    fn restore(&mut self, restore_id: RestoreId, settings: RestoreSettings);
    /// A restore that is done, if there is one.
    fn restored(&mut self) -> Option<RestoreResult<Self::Error>>;

    /// Returns the group metadata; none while the member is in no group.
    fn group_metadata(&self) -> Option<Self::GroupMetadata>;
    /// Whether a batch is being committed; another one has to wait.
    fn committing(&self) -> bool;
    /// Begins to commit a batch.
    fn commit(&mut self, batch: Batch, group: Self::GroupMetadata);
    /// The batch that has been dealt with, if one has; waits for it up to `patience`.
    fn committed(&mut self, patience: Duration) -> Option<Committed<Self::Error>>;

    /// For metrics and the admin port.
    fn tell(&mut self, news: ManagerEvent<'_>);
}

/// A batch that has been dealt with.
#[derive(Debug)]
pub struct Committed<E> {
    /// The batch.
    pub batch: Batch,
    /// Whether it counts.
    pub outcome: Result<(), E>,
    /// How long that took.
    pub took: Duration,
}

/// A restore that is done.
#[derive(Debug)]
pub struct RestoreResult<E> {
    /// Whose it was.
    pub restore_id: RestoreId,
    /// Which partition.
    pub partition: i32,
    /// The partition, or why not.
    pub outcome: RestoreOutcome<E>,
}

/// How a restore went.
#[derive(Debug)]
pub enum RestoreOutcome<E> {
    /// The partition can be read.
    Restored(Box<Restored>),
    /// Worth trying again.
    Failed(E),
    /// Trying again will not help.
    Impossible(anyhow::Error),
    /// The process is stopping.
    Stopped,
}

/// What has come about.
#[derive(Clone, Copy, Debug)]
pub enum ManagerEvent<'a> {
    /// Policies are in force, or others than before.
    Policies,
    /// It is known which partitions are paused, or others are than before.
    Pauses,
    /// The brokers do not tell their time: this machine's clock cannot be checked.
    Unchecked,
    /// Whether sessions may end by the clocks, or why not.
    Clocks(Option<ClockHold>),
    /// A batch has been committed, in this time.
    Committed(&'a Batch, Duration),
    /// A batch came to nothing, in this time.
    Aborted(Duration),
    /// A partition has been restored.
    Restored(&'a Restored),
    /// So many partitions are being restored.
    Restoring(usize),
}
