//! Kafka records, independent of the client.

use rdkafka::message::OwnedHeaders;

use super::time;
use crate::session::Timestamp;

/// The timestamp type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampKind {
    /// Set by the broker when it appends the record.
    LogAppendTime,
    /// Set by the producer.
    CreateTime,
}

/// The name and value of a header.
pub type RecordHeader = (String, Option<Vec<u8>>);

/// The earliest record timestamp that counts: the start of the year 2000. Earlier ones are
/// missing, or in another unit than milliseconds.
const EARLIEST_RECORD: Timestamp = Timestamp::from_millis(946_684_800_000);

/// Returns a record's timestamp if it is within the years 2000 to 9999, and at most `now_upper`, the
/// latest that the time can be.
#[must_use]
pub fn record_time(timestamp: Timestamp, now_upper: Timestamp) -> Option<Timestamp> {
    (EARLIEST_RECORD..=time::LATEST)
        .contains(&timestamp)
        .then(|| timestamp.min(now_upper))
}

/// A record of the source topic: from librdkafka or from a simulated log.
pub trait SourceRecord {
    fn offset(&self) -> i64;
    fn timestamp(&self) -> (Timestamp, TimestampKind);
    fn key(&self) -> Option<&[u8]>;
    fn value(&self) -> Option<&[u8]>;
    /// Copies the headers, whatever bytes they have; only called for records that go to the
    /// dead-letter topic.
    fn headers(&self) -> Option<OwnedHeaders>;
}
