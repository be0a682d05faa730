//! Records of the source topic, wherever they come from.

use crate::session::Timestamp;
use crate::wire::dead_letter::Cause;
use crate::wire::record::{RecordHeader, SourceRecord};

/// A record that could not be used, for the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The record's key, untouched.
    pub key: Option<Vec<u8>>,
    /// The record's value, untouched.
    pub value: Option<Vec<u8>>,
    /// The record's headers, untouched.
    pub headers: Vec<RecordHeader>,
    /// Why.
    pub cause: Cause,
}

impl RejectedRecord {
    /// A dead letter of `record`.
    #[must_use]
    pub fn new(record: &impl SourceRecord, cause: Cause) -> Self {
        Self {
            offset: record.offset(),
            timestamp: record.timestamp().0,
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers(),
            cause,
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + len(value))
            .sum();
        len(&self.key) + len(&self.value) + headers
    }
}
