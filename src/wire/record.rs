//! Kafka records as the roles read them.

use crate::session::Timestamp;

/// Whose time a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampKind {
    /// The broker's, put on when the record was appended.
    LogAppendTime,
    /// The producer's.
    CreateTime,
}

/// A header's name and value.
pub type RecordHeader = (String, Option<Vec<u8>>);

/// A record of the source topic: librdkafka's, or one of a simulated log.
pub trait SourceRecord {
    /// Its offset.
    fn offset(&self) -> i64;
    /// Its timestamp, and whose it is.
    fn timestamp(&self) -> (Timestamp, TimestampKind);
    /// Its key.
    fn key(&self) -> Option<&[u8]>;
    /// Its value.
    fn value(&self) -> Option<&[u8]>;
    /// Copies of its headers; asked for only when the record cannot be used.
    fn headers(&self) -> Vec<RecordHeader>;
}
