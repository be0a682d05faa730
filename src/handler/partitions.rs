//! The assigned partitions: records in flight, offsets to commit, partitions to pause.
//!
//! Pure state; the consumer applies it to the Kafka client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::in_flight::Completion;
use super::ledger::Ledger;
use super::partition_lease::PartitionLease;

/// How far a partition may run ahead of its oldest unfinished event, in offsets. A crash
/// repeats at most this many events of a partition.
const MAX_SPAN: i64 = 10_000;

/// How much may be in flight before reading pauses.
#[derive(Clone, Copy, Debug)]
pub struct InFlightLimits {
    pub events: usize,
    /// Memory of the records.
    pub bytes: usize,
}

/// The partitions assigned to this process.
#[derive(Debug)]
pub struct Partitions {
    owned: BTreeMap<i32, OwnedPartition>,
    limits: InFlightLimits,
    /// Everything in flight, partitions revoked in the meantime included.
    events: usize,
    bytes: usize,
    backpressured: bool,
    /// Partitions that an operator has paused, owned or not.
    operator_paused: BTreeSet<i32>,
}

#[derive(Debug)]
struct OwnedPartition {
    ledger: Ledger,
    /// Where reading starts, if known.
    start: Option<i64>,
    in_flight: usize,
    lease: Arc<PartitionLease>,
    committed: Option<i64>,
    paused: bool,
}

/// Partitions to pause and to resume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PauseChanges {
    pub pause: Vec<i32>,
    pub resume: Vec<i32>,
}

impl Partitions {
    #[must_use]
    pub fn new(limits: InFlightLimits) -> Self {
        Self {
            owned: BTreeMap::new(),
            limits,
            events: 0,
            bytes: 0,
            backpressured: false,
            operator_paused: BTreeSet::new(),
        }
    }

    /// Adds a partition under a new lease.
    pub fn assign(&mut self, partition: i32) {
        let assigned = OwnedPartition {
            ledger: Ledger::default(),
            start: None,
            in_flight: 0,
            lease: Arc::new(PartitionLease::new(partition)),
            committed: None,
            paused: false,
        };
        self.owned.insert(partition, assigned);
    }

    /// Puts a record in flight. Returns its lease, or `None` if the partition is not owned or
    /// has been released.
    pub fn start(
        &mut self,
        partition: i32,
        offset: i64,
        bytes: usize,
    ) -> Option<Arc<PartitionLease>> {
        let owned = self.owned.get_mut(&partition)?;
        if owned.lease.is_released() {
            return None;
        }
        owned.ledger.start(offset);
        owned.in_flight += 1;
        self.events += 1;
        self.bytes += bytes;
        Some(Arc::clone(&owned.lease))
    }

    /// Ends a record's time in flight.
    pub fn complete(&mut self, completion: &Completion) {
        self.events -= 1;
        self.bytes -= completion.bytes;
        let owned = self.owned.get_mut(&completion.lease.partition());
        // A completion of an earlier assignment does not count: another owner may have
        // handled the event in between.
        let Some(owned) = owned.filter(|owned| Arc::ptr_eq(&owned.lease, &completion.lease)) else {
            return;
        };
        owned.in_flight -= 1;
        if completion.finished {
            owned.ledger.finish(completion.offset);
        }
    }

    /// Releases a partition: no further events of it begin, and none is retried. See
    /// [`PartitionLease::release`].
    pub fn release(&self, partition: i32) {
        if let Some(owned) = self.owned.get(&partition) {
            owned.lease.release();
        }
    }

    /// Releases and removes a partition.
    pub fn remove(&mut self, partition: i32) {
        self.release(partition);
        self.owned.remove(&partition);
    }

    #[must_use]
    pub fn owned(&self) -> Vec<i32> {
        self.owned.keys().copied().collect()
    }

    /// The owned partitions that are not paused, for whatever reason.
    #[must_use]
    pub fn unpaused(&self) -> Vec<i32> {
        let unpaused = self.owned.iter().filter(|(_, owned)| !owned.paused);
        unpaused.map(|(&id, _)| id).collect()
    }

    /// Returns whether any of these partitions has events in flight.
    #[must_use]
    pub fn any_in_flight(&self, partitions: &[i32]) -> bool {
        let mut owned = partitions.iter().filter_map(|id| self.owned.get(id));
        owned.any(|owned| owned.in_flight > 0)
    }

    /// The number of events in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.events
    }

    /// Sets the offset at which reading an owned partition starts.
    pub fn set_start(&mut self, partition: i32, offset: i64) {
        if let Some(owned) = self.owned.get_mut(&partition) {
            owned.start = Some(offset);
        }
    }

    /// Offsets from the oldest unfinished event to the end, of all owned partitions.
    #[must_use]
    pub fn backlog(&self, positions: &BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) -> i64 {
        let backlogs = self.owned.iter().filter_map(|(partition, owned)| {
            let position = positions.get(partition).copied();
            let next = owned.ledger.committable(position).or(owned.start)?;
            Some((ends.get(partition)? - next).max(0))
        });
        backlogs.sum()
    }

    /// The number of partitions that are paused because too much is in flight.
    #[must_use]
    pub fn backpressured(&self) -> usize {
        let paused = self.owned.iter().filter(|(_, owned)| owned.paused);
        let backpressured = paused.filter(|(id, _)| !self.operator_paused.contains(id));
        backpressured.count()
    }

    /// Sets the partitions that an operator has paused. Events in flight still finish.
    pub fn set_operator_paused(&mut self, partitions: &BTreeSet<i32>) {
        if self.operator_paused != *partitions {
            tracing::info!(?partitions, "partitions paused by an operator");
            self.operator_paused.clone_from(partitions);
        }
    }

    /// The owned partitions that an operator has paused.
    #[must_use]
    pub fn operator_paused(&self) -> Vec<i32> {
        let owned = self.owned.keys().copied();
        owned
            .filter(|partition| self.operator_paused.contains(partition))
            .collect()
    }

    /// Returns whether the limits allow no further event.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.events >= self.limits.events || self.bytes >= self.limits.bytes
    }

    /// Returns the offsets to commit: one for each of `partitions` that has advanced since the
    /// last call. `positions` are the consumer's, by partition.
    pub fn offsets_to_commit(
        &mut self,
        partitions: &[i32],
        positions: &BTreeMap<i32, i64>,
    ) -> Vec<(i32, i64)> {
        let mut offsets = Vec::new();
        for partition in partitions {
            let Some(owned) = self.owned.get_mut(partition) else {
                continue;
            };
            let position = positions.get(partition).copied();
            if let Some(offset) = owned.ledger.committable(position)
                && owned.committed != Some(offset)
            {
                owned.committed = Some(offset);
                offsets.push((*partition, offset));
            }
        }
        offsets
    }

    /// Makes the next call of [`Partitions::offsets_to_commit`] return all offsets again.
    pub fn forget_commits(&mut self) {
        for owned in self.owned.values_mut() {
            owned.committed = None;
        }
    }

    /// Decides which partitions to pause and to resume. A partition resumes once the load is
    /// down to half of the limit that paused it, because each pause discards prefetched records.
    pub fn update_pauses(&mut self) -> PauseChanges {
        let half = self.events <= self.limits.events / 2 && self.bytes <= self.limits.bytes / 2;
        self.backpressured = self.is_full() || (self.backpressured && !half);
        let mut changes = PauseChanges::default();
        for (&partition, owned) in &mut self.owned {
            let limit = if owned.paused { MAX_SPAN / 2 } else { MAX_SPAN };
            let operator_paused = self.operator_paused.contains(&partition);
            let pause = operator_paused || self.backpressured || owned.ledger.span() >= limit;
            if pause && !owned.paused {
                changes.pause.push(partition);
            } else if !pause && owned.paused {
                changes.resume.push(partition);
            }
            owned.paused = pause;
        }
        changes
    }
}

#[cfg(test)]
mod tests;
