//! Records of sources, independent of the client.

use rdkafka::message::{BorrowedMessage, Message};

use crate::kafka::headers::ReadableHeaders;
use crate::session::Timestamp;
use crate::wire::record::{RecordHeader, record_time};

/// A record of a source.
#[derive(Clone, Debug, Default)]
pub struct InputRecord<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// `None` if the record has none, or one before the year 2000.
    pub timestamp: Option<Timestamp>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Those whose names are UTF-8; empty unless
    /// [`Mapping::reads_headers`](super::mapping::Mapping::reads_headers).
    pub headers: Vec<RecordHeader>,
}

/// Borrows a record that librdkafka has read; copies its headers only `with_headers`.
#[must_use]
pub fn from_message<'a>(message: &'a BorrowedMessage<'_>, with_headers: bool) -> InputRecord<'a> {
    let millis = message.timestamp().to_millis();
    InputRecord {
        topic: message.topic(),
        partition: message.partition(),
        timestamp: millis
            .and_then(|millis| record_time(Timestamp::from_millis(millis), Timestamp::MAX)),
        key: message.key(),
        value: message.payload(),
        headers: if with_headers {
            ReadableHeaders::copy(message.headers()).list
        } else {
            Vec::new()
        },
    }
}
