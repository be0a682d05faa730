//! Up to when the partitions of a source topic have been forwarded.
//!
//! A listed end offset and the time before the request prove, once the position has reached the
//! offset, that everything appended before that time has been read. The statement is written in
//! the transaction of what was read.

use std::collections::BTreeMap;

use crate::session::Timestamp;
use crate::wire::watermark::{Watermark, WatermarkRecord};

/// The watermarks of the assigned partitions of one topic.
#[derive(Debug, Default)]
pub struct IngestWatermarks {
    partitions: BTreeMap<i32, PartitionProgress>,
    /// The partitions, from the first on, that something has been stated about.
    known: i32,
    /// Partitions that were added to the topic and that no process has stated anything about yet.
    added: Vec<i32>,
}

#[derive(Debug, Default)]
struct PartitionProgress {
    until: Option<Timestamp>,
    /// The end offset to reach, and the time that it was listed at.
    target: Option<(i64, Timestamp)>,
    /// Whether `until` has been committed.
    is_stated: bool,
}

impl IngestWatermarks {
    /// Starts without partitions. Something has been stated about each of the first `known`
    /// partitions of the topic.
    #[must_use]
    pub fn new(known: i32) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Adds partitions. Until the position of one has reached a listed end, it holds endings.
    pub fn assign(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.partitions
                .insert(partition, PartitionProgress::default());
        }
    }

    /// Removes partitions. What was stated about them stays true.
    pub fn revoke(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.partitions.remove(partition);
        }
    }

    /// Takes the end offsets that were listed at `at`, and the number of partitions afterwards.
    pub fn on_end_offsets(&mut self, at: Timestamp, count: Option<i32>, ends: &[(i32, i64)]) {
        if let Some(count) = count {
            self.added.extend(self.known..count);
            self.known = self.known.max(count);
        }
        for (partition, end) in ends {
            if let Some(progress) = self.partitions.get_mut(partition)
                && progress.target.is_none()
            {
                progress.target = Some((*end, at));
            }
        }
    }

    /// Takes the positions up to which records have been read.
    pub fn on_positions(&mut self, positions: &[(i32, i64)]) {
        let positions: BTreeMap<i32, i64> = positions.iter().copied().collect();
        for (partition, progress) in &mut self.partitions {
            let Some((end, at)) = progress.target else {
                continue;
            };
            let position = positions.get(partition);
            let is_reached = position.is_some_and(|position| *position >= end);
            if is_reached {
                progress.target = None;
                if progress.until.is_none_or(|until| until < at) {
                    progress.until = Some(at);
                    progress.is_stated = false;
                }
            }
        }
    }

    /// Returns the statements to write for `topic`, by partition.
    #[must_use]
    pub fn unstated(&self, topic: &str) -> Vec<(i32, WatermarkRecord)> {
        let owned = self.partitions.iter();
        let owned =
            owned
                .filter(|(_, progress)| !progress.is_stated)
                .map(|(partition, progress)| {
                    // Holds endings until the partition has been read.
                    (
                        *partition,
                        progress.until.unwrap_or(Timestamp::from_millis(0)),
                    )
                });
        let added = self
            .added
            .iter()
            .filter(|one| !self.partitions.contains_key(one));
        let added = added.map(|partition| (*partition, Timestamp::from_millis(0)));
        let record = |(partition, until)| {
            let watermark = Watermark {
                topic: topic.to_owned(),
                partition,
                until,
            };
            let record = WatermarkRecord {
                routing: None,
                watermarks: vec![watermark],
            };
            (partition, record)
        };
        owned.chain(added).map(record).collect()
    }

    /// Marks all statements as committed.
    pub fn committed(&mut self) {
        self.added.clear();
        for progress in self.partitions.values_mut() {
            progress.is_stated = true;
        }
    }

    /// The time up to which a partition has been forwarded, if known.
    #[must_use]
    pub fn until(&self, partition: i32) -> Option<Timestamp> {
        self.partitions.get(&partition)?.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn stated(watermarks: &mut IngestWatermarks) -> Vec<(i32, i64)> {
        let records = watermarks.unstated("t").into_iter();
        let stated =
            records.map(|(partition, record)| (partition, record.watermarks[0].until.as_millis()));
        let stated = stated.collect();
        watermarks.committed();
        stated
    }

    #[test]
    fn a_time_is_stated_once_the_end_listed_after_it_has_been_read() {
        let mut watermarks = IngestWatermarks::new(2);
        watermarks.assign(&[0, 1]);
        assert_eq!(
            stated(&mut watermarks),
            [(0, 0), (1, 0)],
            "both hold endings"
        );
        watermarks.on_end_offsets(at(1_000), Some(2), &[(0, 10), (1, 0)]);
        watermarks.on_positions(&[(0, 9), (1, 0)]);
        assert_eq!(
            stated(&mut watermarks),
            [(1, 1_000)],
            "partition 1 is empty"
        );
        // A later end does not replace one that has not been reached.
        watermarks.on_end_offsets(at(1_100), Some(2), &[(0, 20), (1, 0)]);
        watermarks.on_positions(&[(0, 10), (1, 0)]);
        assert_eq!(stated(&mut watermarks), [(0, 1_000), (1, 1_100)]);
        assert!(stated(&mut watermarks).is_empty());
        watermarks.revoke(&[0]);
        watermarks.on_end_offsets(at(1_200), Some(2), &[(0, 10)]);
        watermarks.on_positions(&[(0, 30)]);
        assert!(stated(&mut watermarks).is_empty());
    }

    #[test]
    fn a_new_partition_holds_endings_before_any_process_reads_it() {
        let mut watermarks = IngestWatermarks::new(1);
        watermarks.assign(&[0]);
        watermarks.on_end_offsets(at(1_000), Some(1), &[(0, 0)]);
        watermarks.on_positions(&[(0, 0)]);
        assert_eq!(stated(&mut watermarks), [(0, 1_000)]);
        watermarks.on_end_offsets(at(2_000), Some(3), &[]);
        assert_eq!(stated(&mut watermarks), [(1, 0), (2, 0)]);
        watermarks.on_end_offsets(at(3_000), Some(3), &[]);
        assert!(stated(&mut watermarks).is_empty());
    }
}
