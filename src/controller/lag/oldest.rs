//! The first record of each partition that a group has yet to read.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::clock::Clock;
use crate::kafka::group_offsets::PartitionOffsets;
use crate::kafka::reader::{self, reader_config};
use crate::session::Timestamp;

/// How long a round may look for records. What has not been found by then is found in
/// one of the next.
const LOOK: Duration = Duration::from_secs(2);
/// How long to wait for a record before looking at the clock.
const POLL: Duration = Duration::from_millis(100);
/// What may be fetched of a partition, in bytes: its first record is wanted, nothing else.
const FETCH: &str = "4096";

/// What a group has yet to read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Nothing but markers and aborted records, if even that.
    Nothing,
    /// Everything from this record on.
    From {
        /// Its offset.
        offset: i64,
        /// Its timestamp.
        at: Timestamp,
    },
    /// It is not known: there was no time to look.
    NotLooked,
}

/// Looks for records, and remembers what it has found.
pub(super) struct OldestUnread {
    reader: BaseConsumer<Quiet>,
    topic: String,
    clock: Clock,
    /// What was found, and for which range.
    known: BTreeMap<i32, (Range, Unread)>,
}

impl OldestUnread {
    pub(super) fn new(config: &ClientConfig, topic: &str, clock: Clock) -> KafkaResult<Self> {
        let mut config = reader_config(config, topic);
        config
            .set("enable.partition.eof", "true")
            // What retention has deleted meanwhile is nobody's lag any more.
            .set("auto.offset.reset", "earliest")
            .set("max.partition.fetch.bytes", FETCH)
            .set("queued.min.messages", "1");
        Ok(Self {
            reader: config.create_with_context(Quiet)?,
            topic: topic.to_owned(),
            clock,
            known: BTreeMap::new(),
        })
    }

    /// What each of the ranges holds.
    pub(super) fn find(&mut self, ranges: &[Range]) -> KafkaResult<Vec<Unread>> {
        self.known
            .retain(|partition, _| ranges.iter().any(|range| range.partition == *partition));
        let unknown: Vec<Range> = ranges
            .iter()
            .filter(|range| self.recall(range).is_none())
            .copied()
            .collect();
        if !unknown.is_empty() {
            for (range, unread) in self.look(&unknown)? {
                self.known.insert(range.partition, (range, unread));
            }
        }
        let unread = |range| self.recall(range).unwrap_or(Unread::NotLooked);
        Ok(ranges.iter().map(unread).collect())
    }

    /// What is known without looking.
    fn recall(&self, range: &Range) -> Option<Unread> {
        if range.position >= range.end {
            return Some(Unread::Nothing);
        }
        let (known, unread) = self.known.get(&range.partition)?;
        let holds = match unread {
            // The record is still there, and still the first.
            Unread::From { offset, .. } => {
                known.position <= range.position && range.position <= *offset
            }
            Unread::Nothing => known.position <= range.position && range.end <= known.end,
            Unread::NotLooked => false,
        };
        holds.then_some(*unread)
    }

    fn look(&self, ranges: &[Range]) -> KafkaResult<Vec<(Range, Unread)>> {
        let mut assignment = TopicPartitionList::new();
        let mut open = BTreeMap::new();
        for range in ranges {
            let from = Offset::Offset(range.position);
            assignment.add_partition_offset(&self.topic, range.partition, from)?;
            open.insert(range.partition, *range);
        }
        self.reader.assign(&assignment)?;
        let mut found = Vec::new();
        let deadline = self.clock.elapsed() + LOOK;
        while !open.is_empty() && self.clock.elapsed() < deadline {
            let (partition, unread) = match reader::poll(&self.reader, POLL) {
                Some(Ok(message)) => {
                    let at = message.timestamp().to_millis().unwrap_or_default();
                    let at = Timestamp::from_millis(at);
                    let offset = message.offset();
                    (message.partition(), Unread::From { offset, at })
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => (partition, Unread::Nothing),
                Some(Err(error)) => {
                    tracing::debug!(%error, "while looking for unread records");
                    continue;
                }
                None => continue,
            };
            if let Some(range) = open.remove(&partition) {
                self.pause(partition)?;
                found.push((range, unread));
            }
        }
        // A partition that is paused stays so from one assignment to the next.
        self.reader.resume(&assignment)?;
        self.reader.unassign()?;
        Ok(found)
    }

    /// Its first record has come; there is no need to fetch more.
    fn pause(&self, partition: i32) -> KafkaResult<()> {
        let mut done = TopicPartitionList::new();
        done.add_partition(&self.topic, partition);
        self.reader.pause(&done)
    }
}

/// Keeps the ends of partitions out of the log.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::debug!(%error, reason, "looking for unread records");
        }
    }
}

impl ConsumerContext for Quiet {}

/// What a group has of a partition before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) partition: i32,
    /// The first offset that it has not committed and that is still there.
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
