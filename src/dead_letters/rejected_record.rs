//! Records of the source topic that go to the dead-letter topic.

use rdkafka::message::OwnedHeaders;

use crate::kafka::headers::ReadableHeaders;
use crate::session::Timestamp;
use crate::wire::dead_letter::Cause;
use crate::wire::record::SourceRecord;

/// A record that is rejected, for the dead-letter topic. Key, value and headers are unchanged.
#[derive(Clone, Debug)]
pub struct RejectedRecord {
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Option<OwnedHeaders>,
    pub cause: Cause,
    bytes: usize,
    /// Whether the size of every header is known.
    measured: bool,
}

impl RejectedRecord {
    /// Copies `record`.
    #[must_use]
    pub fn new(record: &impl SourceRecord, cause: Cause) -> Self {
        let headers = record.headers();
        let readable = ReadableHeaders::copy(headers.as_ref());
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let list = readable.list.iter();
        let header_bytes: usize = list
            .map(|(name, value)| name.len() + len(value.as_deref()))
            .sum();
        Self {
            offset: record.offset(),
            timestamp: record.timestamp().0,
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers,
            cause,
            bytes: len(record.key()) + len(record.value()) + header_bytes,
            measured: readable.unreadable == 0,
        }
    }

    /// Returns the size of key, value and headers, without headers whose names are not UTF-8.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the size is at most `limit`; `usize::MAX` is no limit.
    #[must_use]
    pub fn fits(&self, limit: usize) -> bool {
        limit == usize::MAX || self.measured && self.bytes <= limit
    }
}
