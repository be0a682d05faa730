//! The partitions that this process owns: what is in flight, what may be committed, what
//! has to pause. Pure books; the consumer acts on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::Ledger;
use super::partition_lease::PartitionLease;
use super::work::{Completion, InFlight};

/// How far a partition may run ahead of its oldest unfinished event, in offsets: what is
/// done a second time, at most, after a crash.
const MAX_SPAN: i64 = 10_000;

/// How much may be in flight before reading stops.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of their records.
    pub bytes: usize,
}

/// The partitions that this process owns.
#[derive(Debug)]
pub struct Partitions {
    owned: BTreeMap<i32, Partition>,
    limits: Limits,
    /// Everything in flight, that of partitions gone in the meantime included.
    events: usize,
    bytes: usize,
    assignments: u64,
    backpressured: bool,
    /// Those that somebody has paused, owned or not.
    held: BTreeSet<i32>,
}

#[derive(Debug)]
struct Partition {
    assignment: u64,
    ledger: Ledger,
    in_flight: usize,
    lease: Arc<PartitionLease>,
    committed: Option<i64>,
    paused: bool,
}

/// Partitions whose reading has to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PauseChanges {
    /// Those to pause.
    pub pause: Vec<i32>,
    /// Those to resume.
    pub resume: Vec<i32>,
}

impl Partitions {
    /// None owned yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            owned: BTreeMap::new(),
            limits,
            events: 0,
            bytes: 0,
            assignments: 0,
            backpressured: false,
            held: BTreeSet::new(),
        }
    }

    /// `partition` is this process's from now on.
    pub fn assign(&mut self, partition: i32) {
        self.assignments += 1;
        let fresh = Partition {
            assignment: self.assignments,
            ledger: Ledger::default(),
            in_flight: 0,
            lease: Arc::default(),
            committed: None,
            paused: false,
        };
        self.owned.insert(partition, fresh);
    }

    /// Hands out an event, unless its partition is not this process's (any more).
    pub fn start(
        &mut self,
        partition: i32,
        offset: i64,
        bytes: usize,
    ) -> Option<(InFlight, Arc<PartitionLease>)> {
        let owned = self.owned.get_mut(&partition)?;
        if owned.lease.is_released() {
            return None;
        }
        owned.ledger.start(offset);
        owned.in_flight += 1;
        self.events += 1;
        self.bytes += bytes;
        let in_flight = InFlight {
            partition,
            assignment: owned.assignment,
            offset,
            bytes,
        };
        Some((in_flight, Arc::clone(&owned.lease)))
    }

    /// Takes a in_flight back.
    pub fn end(
        &mut self,
        Completion {
            in_flight,
            finished,
        }: Completion,
    ) {
        self.events -= 1;
        self.bytes -= in_flight.bytes;
        let owned = self.owned.get_mut(&in_flight.partition);
        // Of an earlier assignment: whoever got the partition in between does it again.
        let Some(owned) = owned.filter(|owned| owned.assignment == in_flight.assignment) else {
            return;
        };
        owned.in_flight -= 1;
        if finished {
            owned.ledger.finish(in_flight.offset);
        }
    }

    /// Nothing more of `partition` is to be begun or tried again; see [`PartitionLease::release`].
    pub fn release(&self, partition: i32) {
        if let Some(owned) = self.owned.get(&partition) {
            owned.lease.release();
        }
    }

    /// `partition` is no longer this process's.
    pub fn remove(&mut self, partition: i32) {
        self.release(partition);
        self.owned.remove(&partition);
    }

    /// The partitions owned.
    #[must_use]
    pub fn owned(&self) -> Vec<i32> {
        self.owned.keys().copied().collect()
    }

    /// The partitions owned that are being read: not paused, for whatever reason.
    #[must_use]
    pub fn read(&self) -> Vec<i32> {
        let read = self.owned.iter().filter(|(_, owned)| !owned.paused);
        read.map(|(&id, _)| id).collect()
    }

    /// Whether anything of these partitions is in flight.
    #[must_use]
    pub fn busy(&self, partitions: &[i32]) -> bool {
        let mut owned = partitions.iter().filter_map(|id| self.owned.get(id));
        owned.any(|owned| owned.in_flight > 0)
    }

    /// How many events are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.events
    }

    /// How many partitions are not read because too much is in flight.
    #[must_use]
    pub fn paused(&self) -> usize {
        let paused = self.owned.iter().filter(|(_, owned)| owned.paused);
        paused.filter(|(id, _)| !self.is_held(**id)).count()
    }

    /// These partitions are not to be read from now on, and no others: somebody has paused
    /// them. What is in flight is finished all the same.
    pub fn hold(&mut self, held: &BTreeSet<i32>) {
        if self.held != *held {
            tracing::info!(partitions = ?held, "paused by an operator");
            self.held.clone_from(held);
        }
    }

    /// Whether somebody has paused a partition.
    #[must_use]
    pub fn is_held(&self, partition: i32) -> bool {
        self.held.contains(&partition)
    }

    /// Whether there is no room for another event.
    #[must_use]
    pub fn full(&self) -> bool {
        self.events >= self.limits.events || self.bytes >= self.limits.bytes
    }

    /// What to commit: partition and offset, for those of `partitions` that got further
    /// since the last time. `position` is the consumer's, by partition.
    pub fn progress(
        &mut self,
        partitions: &[i32],
        positions: &BTreeMap<i32, i64>,
    ) -> Vec<(i32, i64)> {
        let mut progress = Vec::new();
        for partition in partitions {
            let Some(owned) = self.owned.get_mut(partition) else {
                continue;
            };
            let position = positions.get(partition).copied();
            if let Some(offset) = owned.ledger.committable(position)
                && owned.committed != Some(offset)
            {
                owned.committed = Some(offset);
                progress.push((*partition, offset));
            }
        }
        progress
    }

    /// A commit failed: commit everything once more.
    pub fn forget_commits(&mut self) {
        for owned in self.owned.values_mut() {
            owned.committed = None;
        }
    }

    /// Which partitions to pause and to resume. What has been paused stays so until half of
    /// what stopped it is gone: pausing throws away what the client has prefetched.
    pub fn repause(&mut self) -> PauseChanges {
        let half = self.events <= self.limits.events / 2 && self.bytes <= self.limits.bytes / 2;
        self.backpressured = self.full() || (self.backpressured && !half);
        let mut change = PauseChanges::default();
        for (&partition, owned) in &mut self.owned {
            let limit = if owned.paused { MAX_SPAN / 2 } else { MAX_SPAN };
            let held = self.held.contains(&partition);
            let pause = held || self.backpressured || owned.ledger.span() >= limit;
            if pause && !owned.paused {
                change.pause.push(partition);
            } else if !pause && owned.paused {
                change.resume.push(partition);
            }
            owned.paused = pause;
        }
        change
    }
}

#[cfg(test)]
mod tests;
