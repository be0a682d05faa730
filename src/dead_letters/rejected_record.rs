//! Records of the source topic that go to the dead-letter topic.

use rdkafka::message::{Header, OwnedHeaders};

use crate::kafka::headers::ReadableHeaders;
use crate::kafka::transaction::record::ProducerRecord;
use crate::session::Timestamp;
use crate::wire::dead_letter::{self, Cause, Origin};
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

    /// Returns the dead letter of the record, which was read from this partition. Beyond
    /// `max_bytes`, it is without the contents of the record.
    #[must_use]
    pub fn dead_letter<'a>(
        &'a self,
        dead_letter_topic: &'a str,
        (topic, partition): (&str, i32),
        max_bytes: usize,
    ) -> ProducerRecord<'a> {
        let fits = self.fits(max_bytes);
        let headers = if fits {
            self.headers.clone().unwrap_or_default()
        } else {
            OwnedHeaders::new().insert(Header {
                key: dead_letter::OMITTED,
                value: Some(&self.bytes().to_string()),
            })
        };
        let origin = Origin {
            topic,
            partition,
            offset: self.offset,
            timestamp: self.timestamp,
        };
        ProducerRecord {
            topic: dead_letter_topic,
            partition: None,
            key: self.key.as_deref().filter(|_| fits),
            value: self.value.as_deref().filter(|_| fits),
            headers: Some(dead_letter::headers(headers, &self.cause, origin)),
            timestamp: None,
        }
    }

    /// Returns whether the size is at most `limit`; `usize::MAX` is no limit.
    #[must_use]
    fn fits(&self, limit: usize) -> bool {
        limit == usize::MAX || self.measured && self.bytes <= limit
    }
}
