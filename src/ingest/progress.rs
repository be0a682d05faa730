//! How far the assigned partitions of a topic have come, and what a commit says of them. Pure.

use std::collections::BTreeMap;

use super::read_partition::{AwaitedDeleted, ReadPartition};
use super::watermarks::IngestWatermarks;
use crate::session::Timestamp;
use crate::wire::watermark::WatermarkRecord;

/// The progress of a worker in its topic.
#[derive(Debug)]
pub struct WorkerProgress {
    topic: String,
    assigned: BTreeMap<i32, ReadPartition>,
    watermarks: IngestWatermarks,
}

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartOffset {
    pub partition: i32,
    pub offset: i64,
    /// Whether the offset is committed.
    pub committed: bool,
}

/// What to commit beside the outputs of what has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingCommit {
    /// The positions that differ from those committed.
    pub positions: Vec<(i32, i64)>,
    /// The statements to write, by partition.
    pub watermarks: Vec<(i32, WatermarkRecord)>,
}

impl PendingCommit {
    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.watermarks.is_empty()
    }
}

impl WorkerProgress {
    /// Starts without partitions. About each of the first `stated` partitions of the topic,
    /// something has been stated.
    #[must_use]
    pub fn new(topic: &str, stated: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            assigned: BTreeMap::new(),
            watermarks: IngestWatermarks::new(stated),
        }
    }

    /// Adds partitions. Until the position of one has reached a listed end, it holds endings.
    pub fn assign(&mut self, starts: &[StartOffset]) {
        for start in starts {
            let progress = ReadPartition {
                next: start.offset,
                committed: start.committed.then_some(start.offset),
                awaited: None,
            };
            self.assigned.insert(start.partition, progress);
        }
        let ids: Vec<_> = starts.iter().map(|start| start.partition).collect();
        self.watermarks.assign(&ids);
    }

    /// Removes partitions.
    pub fn revoke(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.assigned.remove(partition);
        }
        self.watermarks.revoke(partitions);
    }

    /// The assigned partitions.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = i32> {
        self.assigned.keys().copied()
    }

    /// The offset of the first record of an assigned partition that has not been read.
    #[must_use]
    pub fn next(&self, partition: i32) -> Option<i64> {
        self.assigned.get(&partition).map(|progress| progress.next)
    }

    /// Whether a record of an assigned partition waits for its schema.
    #[must_use]
    pub fn is_awaiting(&self, partition: i32) -> bool {
        let progress = self.assigned.get(&partition);
        progress.is_some_and(|progress| progress.awaited.is_some())
    }

    /// Returns whether a record that has arrived is to be mapped: not if it was fetched before the
    /// partition was assigned or fetched again.
    ///
    /// # Errors
    /// [`AwaitedDeleted`]; start again from the committed offset.
    pub fn accepts(&self, partition: i32, offset: i64) -> Result<bool, AwaitedDeleted> {
        let Some(progress) = self.assigned.get(&partition) else {
            return Ok(false);
        };
        if offset < progress.next {
            return Ok(false);
        }
        progress.check_awaited(partition, offset).map(|()| true)
    }

    /// The outputs of a record are in the batch.
    pub fn read(&mut self, partition: i32, offset: i64) {
        if let Some(progress) = self.assigned.get_mut(&partition) {
            (progress.next, progress.awaited) = (offset + 1, None);
        }
    }

    /// A record cannot be mapped yet.
    pub fn await_record(&mut self, partition: i32, offset: i64) {
        if let Some(progress) = self.assigned.get_mut(&partition) {
            (progress.next, progress.awaited) = (offset, Some(offset));
        }
    }

    /// Takes the end offsets that were listed at `at`, and the number of partitions afterwards.
    pub fn on_end_offsets(&mut self, at: Timestamp, count: Option<i32>, ends: &[(i32, i64)]) {
        self.watermarks.on_end_offsets(at, count, ends);
    }

    /// The position in each assigned partition. The `consumer` knows more than the last record,
    /// such as transaction markers after it, but no position before the first record, and is past
    /// a record that waits.
    #[must_use]
    pub fn positions(&self, consumer: &[(i32, i64)]) -> Vec<(i32, i64)> {
        let known: BTreeMap<i32, i64> = consumer.iter().copied().collect();
        let position = |(partition, progress): (&i32, &ReadPartition)| {
            let known = known.get(partition).copied();
            let known = known.filter(|_| progress.awaited.is_none());
            (*partition, known.unwrap_or_default().max(progress.next))
        };
        self.assigned.iter().map(position).collect()
    }

    /// Returns what to commit at these [`positions`](Self::positions).
    pub fn pending(&mut self, positions: &[(i32, i64)]) -> PendingCommit {
        self.watermarks.on_positions(positions);
        let is_changed = |(partition, position): &&(i32, i64)| {
            let progress = self.assigned.get(partition);
            progress.is_some_and(|progress| progress.committed != Some(*position))
        };
        PendingCommit {
            positions: positions.iter().filter(is_changed).copied().collect(),
            watermarks: self.watermarks.unstated(&self.topic),
        }
    }

    /// Takes over what has been committed.
    pub fn committed(&mut self, commit: &PendingCommit) {
        self.watermarks.committed();
        for (partition, position) in &commit.positions {
            if let Some(progress) = self.assigned.get_mut(partition) {
                progress.committed = Some(*position);
            }
        }
    }

    /// The time up to which a partition has been forwarded, if known.
    #[must_use]
    pub fn until(&self, partition: i32) -> Option<Timestamp> {
        self.watermarks.until(partition)
    }
}
