//! Records to write.

use rdkafka::message::OwnedHeaders;

use crate::session::Timestamp;

/// A record to write.
#[derive(Debug)]
pub struct ProducerRecord<'a> {
    pub topic: &'a str,
    /// `None` where the key decides.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Option<OwnedHeaders>,
    /// On a topic with CreateTime; `None` is the present.
    pub timestamp: Option<Timestamp>,
}
