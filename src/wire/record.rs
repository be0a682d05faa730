//! Kafka records, independent of the client.

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

/// A record of the source topic: from librdkafka or from a simulated log.
pub trait SourceRecord {
    fn offset(&self) -> i64;
    fn timestamp(&self) -> (Timestamp, TimestampKind);
    fn key(&self) -> Option<&[u8]>;
    fn value(&self) -> Option<&[u8]>;
    /// Copies the headers; only called for records that go to the dead-letter topic.
    fn headers(&self) -> Vec<RecordHeader>;
}
