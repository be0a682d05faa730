//! The first record of each partition that a group has not read.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::error::KafkaResult;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset};

use crate::clock::Clock;
use crate::kafka::group_offsets::PartitionOffsets;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::session::Timestamp;

/// Bounds the search for records in one measurement. Later ones search the rest.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval at which a wait for records checks the time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds what is fetched of a partition, in bytes: only its first record is needed.
const MAX_PARTITION_FETCH_BYTES: &str = "4096";

/// What a group has not read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// No committed record.
    Nothing,
    /// This record and those after it.
    From { offset: i64, at: Timestamp },
    /// The search timed out.
    Unknown,
}

/// Searches for first unread records, and caches those it has found.
pub(super) struct OldestUnread {
    reader: TopicReader,
    topic: String,
    clock: Clock,
    /// Results and the ranges that they hold for, by partition.
    known: BTreeMap<i32, (Range, Unread)>,
}

impl OldestUnread {
    pub(super) fn new(config: &ClientConfig, topic: &str, clock: Clock) -> KafkaResult<Self> {
        let options = ReaderOptions {
            name: topic,
            request_timeout: SEARCH_TIMEOUT,
            properties: &[
                // Records that retention has deleted in the meantime are no lag.
                ("auto.offset.reset", "earliest"),
                ("max.partition.fetch.bytes", MAX_PARTITION_FETCH_BYTES),
                ("queued.min.messages", "1"),
            ],
        };
        Ok(Self {
            reader: TopicReader::new(config, &options)?,
            topic: topic.to_owned(),
            clock,
            known: BTreeMap::new(),
        })
    }

    /// The unread part of each of the ranges.
    pub(super) fn find(&mut self, ranges: &[Range]) -> KafkaResult<Vec<Unread>> {
        self.known
            .retain(|partition, _| ranges.iter().any(|range| range.partition == *partition));
        let unknown: Vec<Range> = ranges
            .iter()
            .filter(|range| self.cached(range).is_none())
            .copied()
            .collect();
        if !unknown.is_empty() {
            for (range, unread) in self.search(&unknown)? {
                self.known.insert(range.partition, (range, unread));
            }
        }
        let unread = |range| self.cached(range).unwrap_or(Unread::Unknown);
        Ok(ranges.iter().map(unread).collect())
    }

    /// The result that earlier searches imply for the range.
    fn cached(&self, range: &Range) -> Option<Unread> {
        if range.position >= range.end {
            return Some(Unread::Nothing);
        }
        let (known, unread) = self.known.get(&range.partition)?;
        let holds = match unread {
            // The record is still the first unread one.
            Unread::From { offset, .. } => {
                known.position <= range.position && range.position <= *offset
            }
            Unread::Nothing => known.position <= range.position && range.end <= known.end,
            Unread::Unknown => false,
        };
        holds.then_some(*unread)
    }

    fn search(&self, ranges: &[Range]) -> KafkaResult<Vec<(Range, Unread)>> {
        let mut pending: BTreeMap<i32, Range> = ranges
            .iter()
            .map(|range| (range.partition, *range))
            .collect();
        let topic = self.topic.as_str();
        let positions = ranges.iter();
        let positions = positions.map(|range| {
            let position = Offset::Offset(range.position);
            (topic, range.partition, position)
        });
        self.reader.assign(positions)?;
        let mut found = Vec::new();
        let deadline = self.clock.elapsed() + SEARCH_TIMEOUT;
        while !pending.is_empty() && self.clock.elapsed() < deadline {
            let (partition, unread) = match self.reader.poll(POLL_INTERVAL) {
                Ok(Some(Polled::Record(message))) => {
                    let at = message.timestamp().to_millis().unwrap_or_default();
                    let at = Timestamp::from_millis(at);
                    let offset = message.offset();
                    (message.partition(), Unread::From { offset, at })
                }
                Ok(Some(Polled::EndOfPartition(partition))) => (partition, Unread::Nothing),
                // The reader logs errors, and librdkafka retries.
                Ok(None) | Err(_) => continue,
            };
            if let Some(range) = pending.remove(&partition) {
                // No further records are needed.
                self.reader.pause(topic, partition)?;
                found.push((range, unread));
            }
        }
        self.reader.resume()?;
        self.reader.unassign()?;
        Ok(found)
    }
}

/// The part of a partition that a group has not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) partition: i32,
    /// The first uncommitted offset that retention has not deleted.
    pub(super) position: i64,
    /// The last stable offset.
    pub(super) end: i64,
}

impl From<PartitionOffsets> for Range {
    fn from(offsets: PartitionOffsets) -> Self {
        let PartitionOffsets {
            partition,
            beginning,
            committed,
            end,
        } = offsets;
        Self {
            partition,
            position: committed.unwrap_or(beginning).max(beginning),
            end,
        }
    }
}
