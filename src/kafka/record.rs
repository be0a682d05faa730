//! librdkafka messages as source records.

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message, OwnedHeaders};

use crate::session::Timestamp;
use crate::wire::record::{SourceRecord, TimestampKind};

impl SourceRecord for BorrowedMessage<'_> {
    fn offset(&self) -> i64 {
        Message::offset(self)
    }

    fn timestamp(&self) -> (Timestamp, TimestampKind) {
        let (millis, kind) = match Message::timestamp(self) {
            rdkafka::Timestamp::LogAppendTime(millis) => (millis, TimestampKind::LogAppendTime),
            rdkafka::Timestamp::CreateTime(millis) => (millis, TimestampKind::CreateTime),
            // Message formats before Kafka 0.10 have no timestamp, so nothing is clamped to it.
            rdkafka::Timestamp::NotAvailable => (i64::MAX, TimestampKind::CreateTime),
        };
        (Timestamp::from_millis(millis), kind)
    }

    fn key(&self) -> Option<&[u8]> {
        Message::key(self)
    }

    fn value(&self) -> Option<&[u8]> {
        self.payload()
    }

    fn headers(&self) -> Option<OwnedHeaders> {
        Message::headers(self).map(BorrowedHeaders::detach)
    }
}
