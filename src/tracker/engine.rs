//! The tracker's logic around the partitions: which of them it has, what time it is, and when
//! to commit. Plain code, without Kafka, threads or clocks.

mod end_offsets;
mod fairness;
mod limits;
mod pausing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::partition::{Partition, PartitionBatch, PartitionCounters};
use super::routing::{RoutingMode, Statements, UpstreamBound};
use crate::clock::clocks::Clocks;
use crate::clock::{BrokerSample, Reading};
use crate::session::{Policy, PolicySet, Span, Timestamp};
use crate::wire::event::DecodeLimits;
use crate::wire::record::SourceRecord;
use crate::wire::routing::Routing;
use limits::RoundRobin;

pub use limits::TransactionLimits;
pub use pausing::PauseDiff;

#[cfg(test)]
mod tests;

/// Records that make a commit due before its interval is over: as many are read again if the
/// transaction aborts.
const MAX_RECORDS: u64 = 200_000;
/// Bytes of dead letters and forwarded events that make a commit due before its interval is over.
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// Unread records of a partition from which on the tracker counts as catching up.
const BACKLOG: i64 = 10_000;

/// The state of a tracker process.
#[derive(Debug)]
pub struct Engine {
    commit_interval: Duration,
    limits: TransactionLimits,
    decode_limits: DecodeLimits,
    round_robin: RoundRobin,
    /// None until they are known.
    policies: Option<Arc<PolicySet>>,
    clocks: Clocks,
    max_clock_skew: Span,
    upstream: UpstreamBound,
    partitions: BTreeMap<i32, Assigned>,
    /// The partitions that an operator has paused, assigned or not; none until they are known.
    paused: Option<BTreeSet<i32>>,
    /// Counts the restores requested.
    restores_requested: u64,
    /// Records applied since the last batch.
    records: u64,
    last_batch: Duration,
    /// Keys of watermark records that the next batch deletes.
    superseded: Vec<Vec<u8>>,
    /// Whether a partition has had a backlog, and nothing has been committed since it was read.
    catching_up: bool,
    /// Whether more memory may be taken for sessions.
    may_grow: bool,
}

/// A partition that the group has assigned to this tracker.
#[derive(Debug)]
enum Assigned {
    /// The state is being restored; records are ignored.
    Restoring(RestoreId),
    /// The partition is being read.
    Live(Box<Partition>),
}

/// Distinguishes a restore of a partition from later ones of the same partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreId(u64);

/// What one transaction writes.
#[derive(Debug)]
pub struct Batch {
    /// When its endings were detected.
    pub detected_at: Timestamp,
    /// The share of each partition.
    pub partitions: Vec<PartitionBatch>,
    /// How events are distributed over the partitions.
    pub routing: Routing,
    /// Up to when partitions have been read and what belongs elsewhere has been forwarded, for
    /// other trackers.
    pub watermarks: Option<Statements>,
    /// Keys of watermark records to delete.
    pub superseded: Vec<Vec<u8>>,
}

impl Engine {
    /// Creates an engine without partitions and policies.
    #[must_use]
    pub fn new(
        commit_interval: Duration,
        max_clock_skew: Span,
        mode: RoutingMode,
        routing: Routing,
    ) -> Self {
        Self {
            commit_interval,
            limits: TransactionLimits::default(),
            decode_limits: DecodeLimits::default(),
            round_robin: RoundRobin::default(),
            policies: None,
            clocks: Clocks::new(max_clock_skew),
            max_clock_skew,
            upstream: UpstreamBound::new(mode, routing),
            partitions: BTreeMap::new(),
            paused: None,
            restores_requested: 0,
            records: 0,
            last_batch: Duration::ZERO,
            superseded: Vec::new(),
            catching_up: false,
            may_grow: true,
        }
    }

    /// Returns the engine with other limits of a transaction.
    #[must_use]
    pub fn with_limits(self, limits: TransactionLimits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the engine with other limits of events.
    #[must_use]
    pub fn with_decode_limits(self, decode_limits: DecodeLimits) -> Self {
        Self {
            decode_limits,
            ..self
        }
    }

    /// Returns the limits of events.
    #[must_use]
    pub fn decode_limits(&self) -> &DecodeLimits {
        &self.decode_limits
    }

    /// Adds a partition, or drops its state; it has to be restored.
    pub fn assign(&mut self, partition: i32) -> RestoreId {
        self.restores_requested += 1;
        let restore_id = RestoreId(self.restores_requested);
        self.partitions
            .insert(partition, Assigned::Restoring(restore_id));
        restore_id
    }

    /// Removes a partition, with everything that it has not yet put into a batch.
    pub fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// Returns how events are distributed over the partitions.
    #[must_use]
    pub fn routing(&self) -> Routing {
        self.upstream.routing()
    }

    /// Takes over a restored partition at `now`. Returns whether the engine still waited for this
    /// restore, so that the partition may be read from its position on.
    pub fn restored(
        &mut self,
        restore_id: RestoreId,
        number: i32,
        mut partition: Box<Partition>,
        now: Duration,
    ) -> bool {
        let pending = self.restoring(number) == Some(restore_id);
        if pending {
            // Policies may have changed during the restore.
            if let Some(policies) = &self.policies {
                partition.set_policies(Arc::clone(policies));
            }
            partition.set_may_grow(self.may_grow);
            self.partitions.insert(number, Assigned::Live(partition));
            self.upstream.restored(now);
        }
        pending
    }

    /// Sets whether more memory may be taken for sessions. While not, events that would start one
    /// become dead letters unless the place of an earlier session is free.
    pub fn set_may_grow(&mut self, may_grow: bool) {
        self.may_grow = may_grow;
        for assigned in self.partitions.values_mut() {
            if let Assigned::Live(partition) = assigned {
                partition.set_may_grow(may_grow);
            }
        }
    }

    /// Returns the restore that a partition waits for.
    #[must_use]
    pub fn restoring(&self, partition: i32) -> Option<RestoreId> {
        match self.partitions.get(&partition)? {
            Assigned::Restoring(restore_id) => Some(*restore_id),
            Assigned::Live(_) => None,
        }
    }

    /// Drops the state of all partitions, which is ahead of the log after an aborted
    /// transaction. Returns the restores that they wait for.
    pub fn abort(&mut self) -> Vec<(i32, RestoreId)> {
        self.upstream.aborted();
        self.records = 0;
        let numbers: Vec<i32> = self.partitions.keys().copied().collect();
        numbers
            .into_iter()
            .map(|number| (number, self.assign(number)))
            .collect()
    }

    /// Applies records of one partition, in the order of their offsets; ignores them while the
    /// partition is restored or paused.
    pub fn apply<R: SourceRecord>(&mut self, partition: i32, records: &[R], now_upper: Timestamp) {
        // A record that was fetched before its partition was paused is read again later.
        let limits = self.decode_limits;
        if let Some(partition) = self.active(partition) {
            partition.apply(records, now_upper, &limits);
            self.records += records.len() as u64;
        }
    }

    /// Advances a partition to the consumer's position, all records before it having been
    /// applied.
    pub fn advance_position(&mut self, partition: i32, position: i64) {
        if let Some(partition) = self.active(partition) {
            partition.advance_position(position);
        }
    }

    /// Compares the clocks by a new sample of the brokers'.
    pub fn add_broker_sample(&mut self, sample: BrokerSample) {
        self.clocks.add_broker_sample(sample);
    }

    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Activates policies.
    pub fn set_policies(&mut self, policies: &Arc<PolicySet>) {
        self.policies = Some(Arc::clone(policies));
        for partition in self.live_mut() {
            partition.set_policies(Arc::clone(policies));
        }
    }

    /// Returns the active policies; none until they are known.
    #[must_use]
    pub fn policies(&self) -> Option<&Arc<PolicySet>> {
        self.policies.as_ref()
    }

    /// Returns the active policies by descending priority, each with the number of its live
    /// sessions on the partitions that are being read.
    #[must_use]
    pub fn sessions_by_policy(&self) -> Vec<(Arc<Policy>, usize)> {
        let policies = self.policies.iter().flat_map(|set| set.iter());
        let mut counts: Vec<_> = policies.map(|policy| (Arc::clone(policy), 0)).collect();
        for partition in self.live() {
            // All partitions have the same policies.
            for (total, (_, sessions)) in counts.iter_mut().zip(partition.sessions_by_policy()) {
                total.1 += sessions;
            }
        }
        counts
    }

    /// Returns whether the next transaction has reached its size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let bytes: usize = self.live().map(Partition::output_bytes).sum();
        self.records >= MAX_RECORDS || self.reaches_limits() || bytes >= MAX_OUTPUT_BYTES
    }

    /// Returns whether it is time for a transaction.
    ///
    /// A tracker that has read its backlog commits without waiting for the rest of the
    /// interval. Because that takes a backlog first, a trickle of records does not cause as
    /// many transactions.
    #[must_use]
    pub fn commit_due(&self, elapsed: Duration) -> bool {
        let interval_over = elapsed.saturating_sub(self.last_batch) >= self.commit_interval;
        interval_over || self.is_full() || self.catching_up && self.caught_up()
    }

    /// Notes that the last batch was committed, as acknowledged at `now`.
    pub fn committed(&mut self, now: Duration) {
        self.upstream.committed(now);
    }

    /// Takes everything that has to be written; `None` if there is nothing.
    pub fn take_batch(&mut self, now: Reading) -> Option<Batch> {
        self.last_batch = now.elapsed;
        self.records = 0;
        self.catching_up &= !self.caught_up();
        let elapsed = i64::try_from(now.elapsed.as_millis()).unwrap_or(i64::MAX);
        let elapsed = Timestamp::from_millis(elapsed);
        let own = self.own_watermarks();
        let partitions = self.flush(elapsed);
        if partitions.is_empty() && !self.upstream.must_publish(&own) {
            return None;
        }
        let forwards = partitions.iter().any(|part| !part.forwarded.is_empty());
        let watermarks = self.upstream.batch(own, forwards);
        let mut superseded = std::mem::take(&mut self.superseded);
        if watermarks.is_none() {
            superseded.clear();
        }
        Some(Batch {
            detected_at: now.wall,
            partitions,
            routing: self.routing(),
            watermarks,
            superseded,
        })
    }

    /// Returns the assigned partitions, with `None` for those being restored.
    pub fn assigned(&self) -> impl Iterator<Item = (i32, Option<&Partition>)> {
        self.partitions.iter().map(|(number, state)| match state {
            Assigned::Restoring(_) => (*number, None),
            Assigned::Live(partition) => (*number, Some(&**partition)),
        })
    }

    /// Returns a partition that has been restored.
    #[must_use]
    pub fn live_partition(&self, number: i32) -> Option<&Partition> {
        match self.partitions.get(&number)? {
            Assigned::Restoring(_) => None,
            Assigned::Live(partition) => Some(partition),
        }
    }

    /// Takes what each partition has counted since the last call.
    pub fn take_counters(&mut self) -> impl Iterator<Item = PartitionCounters> {
        self.live_mut().map(Partition::take_counters)
    }

    /// Returns the partitions with records left to read, by the latest end offsets, and the
    /// position in each.
    pub fn unread(&self) -> impl Iterator<Item = (i32, i64)> {
        self.assigned().filter_map(|(number, partition)| {
            let behind = partition.filter(|one| one.backlog() > 0 && !self.is_paused(number))?;
            Some((number, behind.position()))
        })
    }

    fn caught_up(&self) -> bool {
        self.unread().next().is_none()
    }

    /// Returns a partition unless it is being restored or paused.
    fn active(&mut self, number: i32) -> Option<&mut Partition> {
        match self.partitions.get_mut(&number)? {
            Assigned::Live(partition) if !is_in(self.paused.as_ref(), number) => Some(partition),
            Assigned::Live(_) | Assigned::Restoring(_) => None,
        }
    }

    fn live(&self) -> impl Iterator<Item = &Partition> {
        self.assigned().filter_map(|(_, partition)| partition)
    }

    fn live_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.partitions
            .values_mut()
            .filter_map(|state| match state {
                Assigned::Restoring(_) => None,
                Assigned::Live(partition) => Some(&mut **partition),
            })
    }
}

fn is_in(paused: Option<&BTreeSet<i32>>, number: i32) -> bool {
    paused.is_some_and(|paused| paused.contains(&number))
}
