//! The topic that applications write to where ingest brings their events to the topic of session events.

use std::collections::{BTreeMap, BTreeSet};

use sundown::ingest::committer::watermark_key;
use sundown::session::Timestamp;
use sundown::wire::forwarded::SourceOffset;
use sundown::wire::record::TimestampKind;
use sundown::wire::watermark::{Watermark, WatermarkRecord};

use crate::cluster::{Cluster, Place, Refused, index};
use crate::group::Group;
use crate::log::{Log, Record, Txn};

/// The topic's name.
pub(crate) const TOPIC: &str = "clicks";
/// The group of its readers.
const GROUP: &str = "sundown-ingest.clicks";
/// The most partitions that it comes to have.
const MAX_PARTITIONS: usize = 5;
/// How long it takes until the group notices that partitions have been added.
const METADATA_AGE: i64 = 10_000;

/// The topic, and what brokers know of its readers.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) logs: Vec<Log>,
    pub(crate) group: Group,
    /// Whether the schema registry answers.
    pub(crate) registry_up: bool,
    /// When the group notices that partitions have been added.
    grows_at: Option<i64>,
    offsets: Vec<Option<i64>>,
    pending: BTreeMap<Txn, Vec<(i32, i64)>>,
    /// The events that have been written to the topic of session events, until it is known whether their
    /// transaction was committed.
    pub(crate) copies: Vec<EventCopy>,
}

/// A record of the topic, and the session event that it became.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventCopy {
    pub(crate) from: SourceOffset,
    pub(crate) to: SourceOffset,
    pub(crate) txn: Txn,
}

impl Upstream {
    pub(crate) fn new(partitions: usize) -> Self {
        Self {
            logs: (0..partitions).map(|_| Log::default()).collect(),
            group: Group::new(partitions),
            registry_up: true,
            grows_at: None,
            offsets: vec![None; partitions],
            pending: BTreeMap::new(),
            copies: Vec::new(),
        }
    }

    pub(crate) fn partitions(&self) -> i32 {
        i32::try_from(self.logs.len()).expect("a few")
    }

    pub(crate) fn log(&self, partition: i32) -> &Log {
        &self.logs[index(partition)]
    }

    /// Appends a record and returns its offset.
    pub(crate) fn append(&mut self, partition: i32, now: i64, key: &[u8], value: Vec<u8>) -> i64 {
        self.logs[index(partition)].append(Record {
            offset: 0,
            timestamp: now,
            kind: TimestampKind::LogAppendTime,
            key: Some(key.to_vec()),
            value: Some(value),
            txn: None,
            marker: false,
            covered: None,
        })
    }

    /// Adds a partition. No member owns it before the group notices it.
    pub(crate) fn grow(&mut self, now: i64) {
        let count = (self.logs.len() + 1).min(MAX_PARTITIONS);
        self.logs.resize_with(count, Log::default);
        self.offsets.resize(count, None);
        self.grows_at.get_or_insert(now + METADATA_AGE);
    }

    /// What the brokers do by themselves as time passes.
    pub(crate) fn tick(&mut self, now: i64) {
        if self.grows_at.is_some_and(|at| at <= now) {
            self.grows_at = None;
            self.group.grow(self.logs.len());
        }
        self.group.expire(now);
    }

    /// The committed offset, unless a transaction is pending on it.
    pub(crate) fn committed(&self, partition: i32) -> Result<Option<i64>, Refused> {
        let mut pending = self.pending.values().flatten();
        if pending.any(|(number, _)| *number == partition) {
            return Err(Refused("unstable"));
        }
        Ok(self.offsets[index(partition)])
    }

    /// Adds offsets to a transaction.
    pub(crate) fn add_offsets(&mut self, txn: Txn, offsets: Vec<(i32, i64)>) {
        self.pending.insert(txn, offsets);
    }

    /// The marker of a transaction has reached the offsets.
    pub(crate) fn mark(&mut self, txn: Txn, commit: bool) {
        let offsets = self.pending.remove(&txn).unwrap_or_default();
        for (partition, offset) in offsets.into_iter().filter(|_| commit) {
            self.offsets[index(partition)] = Some(offset);
        }
    }
}

/// States that nothing of the partitions has been forwarded about which nothing has been stated, as a worker
/// does before it reads; returns the number of partitions.
pub(crate) fn hold(cluster: &mut Cluster) -> i32 {
    let mut stated = BTreeSet::new();
    let mut position = 0;
    while let Some(record) = cluster.watermarks.next(position) {
        position = record.offset + 1;
        stated.insert(record.key.clone().unwrap_or_default());
    }
    let count = cluster.upstream.partitions();
    for partition in 0..count {
        let key = watermark_key(GROUP, partition).into_bytes();
        if !stated.contains(&key) {
            let watermark = Watermark {
                topic: TOPIC.to_owned(),
                partition,
                until: Timestamp::from_millis(0),
            };
            let record = WatermarkRecord {
                routing: None,
                watermarks: vec![watermark],
            };
            let pair = (Some(key), Some(record.encode()));
            let appended = cluster.append(Place::Watermarks, None, pair, None);
            appended.expect("no transaction, no refusal");
        }
    }
    count
}

/// The record of a statement.
pub(crate) fn statement(
    partition: i32,
    record: &WatermarkRecord,
) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let key = watermark_key(GROUP, partition).into_bytes();
    (Some(key), Some(record.encode()))
}
