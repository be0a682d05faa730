//! One partition: records, transactions that are open in it, compaction and retention.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::message::OwnedHeaders;
use sundown::session::Timestamp;
use sundown::wire::record::{SourceRecord, TimestampKind};

/// Names a transaction.
pub(crate) type Txn = u64;

/// A record, or a transaction's marker.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    /// Its Kafka timestamp.
    pub(crate) timestamp: i64,
    pub(crate) kind: TimestampKind,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) txn: Option<Txn>,
    pub(crate) marker: bool,
    /// The source offset that is committed after it, if it is in no transaction.
    pub(crate) covered: Option<i64>,
}

impl SourceRecord for Record {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> (Timestamp, TimestampKind) {
        (Timestamp::from_millis(self.timestamp), self.kind)
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn headers(&self) -> Option<OwnedHeaders> {
        None
    }
}

/// A partition.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The oldest offset left.
    pub(crate) start: i64,
    /// The high watermark.
    pub(crate) end: i64,
    records: Vec<Record>,
    /// Transactions without a marker here, and where they begin.
    open: BTreeMap<Txn, i64>,
    /// Whether those with a marker here have been committed.
    decided: BTreeMap<Txn, bool>,
}

impl Log {
    /// Appends a record, whatever offset it says, and returns its offset.
    pub(crate) fn append(&mut self, mut record: Record) -> i64 {
        let offset = self.end;
        record.offset = offset;
        if let Some(txn) = record.txn {
            self.open.entry(txn).or_insert(offset);
        }
        self.records.push(record);
        self.end += 1;
        offset
    }

    /// Sets the source offset that is committed after the record at `offset`, the last one.
    pub(crate) fn cover(&mut self, offset: i64, covered: Option<i64>) {
        let last = self.records.last_mut();
        if let Some(record) = last.filter(|record| record.offset == offset) {
            record.covered = covered;
        }
    }

    /// Writes a transaction's marker.
    pub(crate) fn mark(&mut self, txn: Txn, committed: bool, now: i64) {
        self.open.remove(&txn);
        self.decided.insert(txn, committed);
        self.append(Record {
            offset: 0,
            timestamp: now,
            kind: TimestampKind::LogAppendTime,
            key: None,
            value: None,
            txn: None,
            marker: true,
            covered: None,
        });
    }

    /// Everything before it is decided.
    pub(crate) fn stable_end(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Whether a transaction is known to be aborted in this partition.
    pub(crate) fn aborted(&self, txn: Txn) -> bool {
        self.decided.get(&txn) == Some(&false)
    }

    /// Whether a transaction is known to be committed in this partition.
    pub(crate) fn committed(&self, txn: Txn) -> bool {
        self.decided.get(&txn) == Some(&true)
    }

    /// The first record from `from` on that a reader of committed records gets.
    pub(crate) fn next(&self, from: i64) -> Option<&Record> {
        let first = self.records.partition_point(|record| record.offset < from);
        let stable = self.stable_end();
        self.records[first..]
            .iter()
            .take_while(|record| record.offset < stable)
            .find(|record| self.is_visible(record))
    }

    /// Where such a reader stands who is at `from` and has been given all there is.
    pub(crate) fn position(&self, from: i64) -> i64 {
        if from < self.start || from > self.end {
            // What has been deleted is not stepped past.
            return from;
        }
        let next = self.next(from).map(|record| record.offset);
        next.unwrap_or_else(|| self.stable_end()).max(from)
    }

    /// Compacts what lies before `to`, as far as it is decided. Tombstones stay: who
    /// reads this while it is compacted must not miss them.
    pub(crate) fn compact(&mut self, to: i64) {
        let to = to.min(self.stable_end());
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        for record in std::mem::take(&mut self.records).into_iter().rev() {
            let stays =
                record.offset >= to || self.is_visible(&record) && seen.insert(record.key.clone());
            if stays {
                kept.push(record);
            }
        }
        kept.reverse();
        self.records = kept;
    }

    /// Deletes what lies before `to`.
    pub(crate) fn delete_before(&mut self, to: i64) {
        self.start = self.start.max(to.min(self.end));
        let start = self.start;
        self.records.retain(|record| record.offset >= start);
    }

    /// Loses what lies behind `to`.
    pub(crate) fn truncate(&mut self, to: i64) {
        self.records.retain(|record| record.offset < to);
        self.end = self.end.min(to);
        self.start = self.start.min(to);
    }

    fn is_visible(&self, record: &Record) -> bool {
        let committed = record
            .txn
            .is_none_or(|txn| self.decided.get(&txn) == Some(&true));
        !record.marker && committed
    }
}
