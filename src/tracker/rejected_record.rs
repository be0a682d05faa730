//! Records of the source topic that go to the dead-letter topic.

use crate::session::Timestamp;
use crate::wire::dead_letter::Cause;
use crate::wire::record::{RecordHeader, SourceRecord};

/// A record that is rejected, for the dead-letter topic. Key, value and headers are unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<RecordHeader>,
    pub cause: Cause,
}

impl RejectedRecord {
    /// Copies `record`.
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

    /// Returns the size of key, value and headers.
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
