//! The seam of [`PartitionManager`](super::PartitionManager): Kafka and clocks, or a simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::clocks::ClockHold;
use crate::clock::{BrokerSample, Reading};
use crate::kafka::end_offsets::EndOffsets;
use crate::session::PolicySet;
use crate::tracker::engine::{Batch, RestoreId};
use crate::tracker::outbox::OutputCounts;
use crate::tracker::restore::{RestoreSettings, Restored};
use crate::tracker::routing::RoutingHold;
use crate::tracker::state_hold::StateHold;

/// A member of the consumer group, a producer, restores that run beside it, and clocks. Calls do
/// not block unless their documentation states it.
pub trait Io {
    /// The member's id and generation. The group refuses a commit with one that is out of
    /// date.
    type GroupMetadata;

    /// Reads the clocks.
    fn reading(&self) -> Reading;

    /// Returns policies once they are known and after each change.
    fn take_policies(&mut self) -> Option<Arc<PolicySet>>;
    /// Returns the paused partitions once they are known and after each change.
    fn take_pauses(&mut self) -> Option<BTreeSet<i32>>;
    /// Returns the next sample of the brokers' clock.
    fn take_broker_sample(&mut self) -> Option<BrokerSample>;
    /// Returns the latest end offsets unless they have been taken.
    fn take_end_offsets(&mut self) -> Option<EndOffsets>;

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
    fn seek(&mut self, partition: i32, offset: i64) -> anyhow::Result<()>;
    /// Returns the consumer's position in each partition.
    fn positions(&self) -> Vec<(i32, i64)>;

    /// Starts to restore a partition.
    fn start_restore(&mut self, restore_id: RestoreId, settings: RestoreSettings);
    /// Returns the next restore that has ended.
    fn take_restore_result(&mut self) -> Option<RestoreResult>;

    /// Returns the group metadata; none while the member is in no group.
    fn group_metadata(&self) -> Option<Self::GroupMetadata>;
    /// Returns whether a commit is in progress; another one has to wait.
    fn is_committing(&self) -> bool;
    /// Starts to commit a batch.
    fn start_commit(&mut self, batch: Batch, group: Self::GroupMetadata);
    /// Returns the result of the commit in progress, waiting for it up to `timeout`.
    fn take_commit_result(&mut self, timeout: Duration) -> Option<CommitResult>;

    /// Passes an event on to metrics, health and logs.
    fn handle(&mut self, event: ManagerEvent<'_>);
}

/// The end of a commit.
#[derive(Debug)]
pub struct CommitResult {
    /// What was written, if the commit succeeded.
    pub outcome: anyhow::Result<OutputCounts>,
    /// How long the commit took.
    pub took: Duration,
}

/// The end of a restore.
#[derive(Debug)]
pub struct RestoreResult {
    /// The restore.
    pub restore_id: RestoreId,
    /// The partition.
    pub partition: i32,
    /// How the restore ended.
    pub outcome: RestoreOutcome,
}

/// How a restore ended.
#[derive(Debug)]
pub enum RestoreOutcome {
    /// The partition can be read.
    Restored(Box<Restored>),
    /// A retry may help.
    Failed(anyhow::Error),
    /// The state is not used until the logs belong together again.
    Held(StateHold),
    /// The process is stopping.
    Stopped,
}

/// A change that metrics, health and logs show.
#[derive(Clone, Copy, Debug)]
pub enum ManagerEvent<'a> {
    /// Policies are known, or have changed.
    PoliciesChanged,
    /// The paused partitions are known, or have changed.
    PausesChanged,
    /// Brokers do not stamp process reports, so this machine's clock cannot be checked.
    ClockUnchecked,
    /// The clocks were compared; holds the reason for which no session may end, if any.
    ClocksCompared(Option<ClockHold>),
    /// The number of partitions and the watermarks of others were checked; holds the reason for
    /// which no session may end, if any.
    RoutingChecked(Option<&'a RoutingHold>),
    /// A batch was committed in this time.
    Committed(&'a OutputCounts, Duration),
    /// A batch was aborted after this time.
    Aborted(Duration),
    /// A partition was restored.
    Restored(&'a Restored),
    /// This many partitions wait for their restore.
    Restoring(usize),
    /// The held partitions have changed.
    Held(&'a BTreeMap<i32, StateHold>),
}
