//! The tracker's logic around the partitions: which of them it has, what time it is,
//! and when to commit. Plain code, without Kafka, threads or clocks.

mod fairness;
mod limits;
mod pausing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::clocks::{ClockHold, Clocks};
use super::partition::{Partition, PartitionBatch, PartitionCounters};
use crate::clock::{BrokerSample, Reading};
use crate::kafka::end_offsets::EndOffsets;
use crate::session::{Policy, PolicySet, Span, Timestamp};
use crate::wire::record::SourceRecord;
use limits::RoundRobin;

pub use limits::TransactionLimits;
pub use pausing::PauseChanges;

#[cfg(test)]
mod tests;

/// Records that fill a transaction before its time has come: as many are read again if it
/// comes to nothing.
const MAX_RECORDS: u64 = 200_000;
/// Records still to be read that make a tracker one that catches up.
const BACKLOG: i64 = 10_000;
/// Bytes of dead letters that fill it.
const MAX_DEAD_LETTER_BYTES: usize = 16 << 20;

/// All that one tracker process tracks.
#[derive(Debug)]
pub struct Engine {
    commit_interval: Duration,
    bounds: TransactionLimits,
    turns: RoundRobin,
    /// None before any are known.
    policies: Option<Arc<PolicySet>>,
    clocks: Clocks,
    partitions: BTreeMap<i32, Assigned>,
    /// Those that are to be read by nobody, assigned or not; none before that is known.
    paused: Option<BTreeSet<i32>>,
    /// How many restores have been asked for.
    restores_requested: u64,
    /// Records applied since the last batch.
    records: u64,
    last_batch: Duration,
    /// It has been far behind, and has not committed since it caught up.
    catching_up: bool,
}

/// A partition that the group has assigned to this tracker.
#[derive(Debug)]
enum Assigned {
    /// Its state is being read by the restore of this restore_id; records of it are not.
    Restoring(RestoreId),
    /// It is being read.
    Live(Box<Partition>),
}

/// Tells one restore of a partition from a later one of the same partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreId(u64);

/// Everything that one transaction has to write.
#[derive(Debug)]
pub struct Batch {
    /// When the endings in it were noticed.
    pub detected_at: Timestamp,
    /// What each partition contributes.
    pub partitions: Vec<PartitionBatch>,
}

impl Engine {
    /// A tracker without partitions, that knows no policies yet.
    #[must_use]
    pub fn new(commit_interval: Duration, max_clock_skew: Span) -> Self {
        Self {
            commit_interval,
            bounds: TransactionLimits::default(),
            turns: RoundRobin::default(),
            policies: None,
            clocks: Clocks::new(max_clock_skew),
            partitions: BTreeMap::new(),
            paused: None,
            restores_requested: 0,
            records: 0,
            last_batch: Duration::ZERO,
            catching_up: false,
        }
    }

    /// The same with other bounds of a transaction.
    #[must_use]
    pub fn bounded(self, bounds: TransactionLimits) -> Self {
        Self { bounds, ..self }
    }

    /// The group has assigned a partition: it has to be restored.
    pub fn assign(&mut self, partition: i32) -> RestoreId {
        self.restores_requested += 1;
        let restore_id = RestoreId(self.restores_requested);
        self.partitions
            .insert(partition, Assigned::Restoring(restore_id));
        restore_id
    }

    /// The group has taken a partition away; what it had to write and was not in a
    /// batch yet is gone with it.
    pub fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// A partition has been restored. Returns whether that is still query, so that it
    /// may be read from its position on.
    pub fn restored(
        &mut self,
        restore_id: RestoreId,
        number: i32,
        mut partition: Box<Partition>,
    ) -> bool {
        let query = self.restoring(number) == Some(restore_id);
        if query {
            // They may have changed while it was being restored.
            if let Some(policies) = &self.policies {
                partition.set_policies(Arc::clone(policies));
            }
            self.partitions.insert(number, Assigned::Live(partition));
        }
        query
    }

    /// The restore that a partition waits for.
    #[must_use]
    pub fn restoring(&self, partition: i32) -> Option<RestoreId> {
        match self.partitions.get(&partition)? {
            Assigned::Restoring(restore_id) => Some(*restore_id),
            Assigned::Live(_) => None,
        }
    }

    /// A transaction came to nothing, so memory is ahead of the log: every partition
    /// has to be restored.
    pub fn abort(&mut self) -> Vec<(i32, RestoreId)> {
        self.records = 0;
        let numbers: Vec<i32> = self.partitions.keys().copied().collect();
        numbers
            .into_iter()
            .map(|number| (number, self.assign(number)))
            .collect()
    }

    /// Applies records of one partition, in the order of their offsets; ignores them
    /// while that is being restored or paused. Returns the offset of one whose key belongs on
    /// another partition, if there is any.
    pub fn apply<R: SourceRecord>(
        &mut self,
        partition: i32,
        records: &[R],
        now_upper: Timestamp,
    ) -> Option<i64> {
        // A record that was on its way when its partition was paused is read again later.
        let partition = self.active(partition)?;
        let misrouted = partition.apply(records, now_upper);
        self.records += records.len() as u64;
        misrouted
    }

    /// The consumer's position in a partition, everything before it having been applied.
    pub fn advance_position(&mut self, partition: i32, position: i64) {
        if let Some(partition) = self.active(partition) {
            partition.advance_position(position);
        }
    }

    /// The brokers have answered where partitions end. Ends the sessions that this
    /// proves to be over, as many as there is room for in the next transaction.
    ///
    /// # Errors
    /// [`ClockHold`] while nothing may end because the clocks cannot be trusted.
    pub fn on_end_offsets(&mut self, answer: &EndOffsets) -> Result<(), ClockHold> {
        let asked_at = self.clocks.lower(answer.requested_at)?;
        for &(number, end) in &answer.ends {
            let paused = self.is_paused(number);
            if let Some(Assigned::Live(partition)) = self.partitions.get_mut(&number) {
                if paused {
                    partition.ends_at(end);
                    continue;
                }
                partition.on_end_offset(end, asked_at);
                self.catching_up |= partition.backlog() >= BACKLOG;
            }
        }
        self.advance();
        Ok(())
    }

    /// A process report has been acknowledged: a sample of the brokers' clock.
    pub fn sampled(&mut self, sample: BrokerSample) {
        self.clocks.sampled(sample);
    }

    /// The clocks, compared.
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Puts other policies into force.
    pub fn set_policies(&mut self, policies: &Arc<PolicySet>) {
        self.policies = Some(Arc::clone(policies));
        for partition in self.live_mut() {
            partition.set_policies(Arc::clone(policies));
        }
    }

    /// The policies in force; none as long as they are not known. No partition is to be
    /// restored before, lest its sessions end by other rules than theirs.
    #[must_use]
    pub fn policies(&self) -> Option<&Arc<PolicySet>> {
        self.policies.as_ref()
    }

    /// The policies in force, the most important first, each with how many sessions live
    /// under it on the partitions that are being read.
    #[must_use]
    pub fn sessions_by_policy(&self) -> Vec<(Arc<Policy>, usize)> {
        let policies = self.policies.iter().flat_map(|set| set.iter());
        let mut counts: Vec<_> = policies.map(|policy| (Arc::clone(policy), 0)).collect();
        for partition in self.live() {
            // All partitions are under the same policies.
            for (total, (_, sessions)) in counts.iter_mut().zip(partition.sessions_by_policy()) {
                total.1 += sessions;
            }
        }
        counts
    }

    /// Whether a transaction's worth has come together, in size.
    #[must_use]
    pub fn full(&self) -> bool {
        let bytes: usize = self.live().map(Partition::dead_letter_bytes).sum();
        self.records >= MAX_RECORDS || self.is_bounded() || bytes >= MAX_DEAD_LETTER_BYTES
    }

    /// Whether it is time for a transaction.
    ///
    /// A tracker that has caught up with a backlog does not wait for the rest of its
    /// interval: what others wait for is done. Since that takes a backlog first, few
    /// records at a time do not become as many transactions.
    #[must_use]
    pub fn due(&self, elapsed: Duration) -> bool {
        let interval_over = elapsed.saturating_sub(self.last_batch) >= self.commit_interval;
        interval_over || self.full() || self.catching_up && self.caught_up()
    }

    /// Takes what has to be written now; `None` if there is nothing.
    pub fn take_batch(&mut self, now: Reading) -> Option<Batch> {
        self.last_batch = now.elapsed;
        self.records = 0;
        self.catching_up &= !self.caught_up();
        let elapsed = i64::try_from(now.elapsed.as_millis()).unwrap_or(i64::MAX);
        let elapsed = Timestamp::from_millis(elapsed);
        let partitions = self.flush(elapsed);
        (!partitions.is_empty()).then_some(Batch {
            detected_at: now.wall,
            partitions,
        })
    }

    /// Partitions assigned, restored or not.
    pub fn assigned(&self) -> impl Iterator<Item = (i32, Option<&Partition>)> {
        self.partitions.iter().map(|(number, state)| match state {
            Assigned::Restoring(_) => (*number, None),
            Assigned::Live(partition) => (*number, Some(&**partition)),
        })
    }

    /// A partition that is being read.
    #[must_use]
    pub fn live_partition(&self, number: i32) -> Option<&Partition> {
        match self.partitions.get(&number)? {
            Assigned::Restoring(_) => None,
            Assigned::Live(partition) => Some(partition),
        }
    }

    /// What happened on each partition since the last call.
    pub fn take_counters(&mut self) -> impl Iterator<Item = PartitionCounters> {
        self.live_mut().map(Partition::take_counters)
    }

    /// Partitions of which there is more to be read, by what the brokers last said, and the
    /// positions in them.
    pub fn unread(&self) -> impl Iterator<Item = (i32, i64)> {
        self.assigned().filter_map(|(number, partition)| {
            let behind = partition.filter(|one| one.backlog() > 0 && !self.is_paused(number))?;
            Some((number, behind.position()))
        })
    }

    /// Whether nothing is left to be read, by what the brokers last said.
    fn caught_up(&self) -> bool {
        self.unread().next().is_none()
    }

    /// A partition that is being read.
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
