//! librdkafka messages as source records.

use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::session::Timestamp;
use crate::wire::record::{RecordHeader, SourceRecord, TimestampKind};

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

    fn headers(&self) -> Vec<RecordHeader> {
        let headers = Message::headers(self).into_iter().flat_map(Headers::iter);
        headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    }
}
