//! Session events that are on another partition than the one they belong on.

use crate::session::Timestamp;
use crate::wire::forwarded::{Forwarded, SourceOffset};
use crate::wire::record::{SourceRecord, TimestampKind};

/// The dead-letter reason of events that were forwarded too often.
pub const FORWARDING_LOOP: &str = "forwarding_loop";

/// Why an event was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForwardCause {
    /// The record has no key.
    NoKey,
    /// The key is the id in JSON quotes.
    QuotedKey,
    /// The key is another text than the id.
    OtherKey,
    /// The key is the id: the producer has another partitioner.
    Partitioner,
    /// The number of partitions or the routing key has changed since the event was forwarded.
    Routing,
    /// The event concerns sessions on all partitions and was written to one.
    SinglePartition,
}

impl ForwardCause {
    pub const ALL: [Self; 6] = [
        Self::NoKey,
        Self::QuotedKey,
        Self::OtherKey,
        Self::Partitioner,
        Self::Routing,
        Self::SinglePartition,
    ];

    /// Returns the name for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::QuotedKey => "quoted_key",
            Self::OtherKey => "other_key",
            Self::Partitioner => "partitioner",
            Self::Routing => "routing",
            Self::SinglePartition => "single_partition",
        }
    }

    /// Returns what the producer has to change; `None` if nothing is wrong with it.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::NoKey => {
                Some("the record has no key; set it to the id that events are routed by")
            }
            Self::QuotedKey => Some(
                "the key is the id in JSON quotes; serialize it as a plain string, without a JSON serializer",
            ),
            Self::OtherKey => {
                Some("the key is not the id that events are routed by; set it to that id")
            }
            Self::Partitioner => Some(
                "the producer has another partitioner; set partitioner=murmur2_random (librdkafka), or the default partitioner of the Java client",
            ),
            Self::Routing | Self::SinglePartition => None,
        }
    }

    /// Returns the cause for a record whose event belongs to `id`.
    pub(super) fn of(mark: Option<Forwarded>, key: Option<&[u8]>, id: &str) -> Self {
        let is_quoted = |key: &[u8]| {
            let inner = key
                .strip_prefix(b"\"")
                .and_then(|key| key.strip_suffix(b"\""));
            inner == Some(id.as_bytes())
        };
        match key {
            _ if mark.is_some() => Self::Routing,
            None => Self::NoKey,
            Some(key) if key == id.as_bytes() => Self::Partitioner,
            Some(key) if is_quoted(key) => Self::QuotedKey,
            Some(_) => Self::OtherKey,
        }
    }
}

/// A record whose producer should be corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MisroutedRecord {
    pub partition: i32,
    pub offset: i64,
    pub cause: ForwardCause,
}

/// How many events were forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardCounts([u64; ForwardCause::ALL.len()]);

impl ForwardCounts {
    pub(super) fn add(&mut self, cause: ForwardCause) {
        self.0[cause as usize] += 1;
    }

    /// Returns the counts by cause.
    pub fn iter(&self) -> impl Iterator<Item = (ForwardCause, u64)> {
        ForwardCause::ALL.into_iter().zip(self.0)
    }
}

/// Where an event is forwarded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This partition.
    Partition(i32),
    /// All partitions but the one that it was read from.
    EveryOther,
}

/// An event to write to other partitions of the session event topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRecord {
    pub to: Destination,
    pub mark: Forwarded,
    pub value: Vec<u8>,
    /// The record timestamp to keep, on a topic with CreateTime.
    pub create_time: Option<Timestamp>,
}

impl ForwardedRecord {
    /// Copies a record that was read from `partition` of `partitions`; `None` if it has been
    /// forwarded too often.
    pub(super) fn new(
        record: &impl SourceRecord,
        mark: Option<Forwarded>,
        (partition, partitions): (i32, i32),
        to: Destination,
    ) -> Option<Self> {
        let (timestamp, kind) = record.timestamp();
        let origin = SourceOffset {
            partition,
            offset: record.offset(),
        };
        let mut mark = Forwarded::again(mark, timestamp, origin)?;
        if to == Destination::EveryOther {
            mark.copies = partitions;
        }
        let is_set = timestamp < Timestamp::MAX && kind == TimestampKind::CreateTime;
        Some(Self {
            to,
            mark,
            value: record.value().unwrap_or_default().to_vec(),
            create_time: is_set.then_some(timestamp),
        })
    }

    /// Returns the partitions to write to, of a topic with `partitions` of them.
    pub fn partitions(&self, own: i32, partitions: i32) -> impl Iterator<Item = i32> {
        let (first, end) = match self.to {
            Destination::Partition(partition) => (partition, partition + 1),
            Destination::EveryOther => (0, partitions),
        };
        (first..end).filter(move |partition| *partition != own)
    }
}
