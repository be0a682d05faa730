//! A terminal event on its way through the handler.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::message::OwnedMessage;

use super::action::Delivery;
use super::event::{Event, Trigger};
use super::partition_lease::PartitionLease;
use crate::session::Timestamp;

/// A record of an event, and what became of reading it.
#[derive(Debug)]
pub struct Work {
    /// Under which it was handed out.
    pub in_flight: InFlight,
    /// The record as it was read.
    pub record: OwnedMessage,
    /// What events of its topic are about.
    pub trigger: Trigger,
    /// What it says.
    pub event: Result<Event, Malformed>,
    /// Whether it is this process's to do.
    pub lease: Arc<PartitionLease>,
}

/// What identifies an event within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The partition.
    pub partition: i32,
    /// Which of the partition's assignments to this process it belongs to.
    pub assignment: u64,
    /// The offset.
    pub offset: i64,
    /// How much memory its record takes, about.
    pub bytes: usize,
}

/// A in_flight given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The in_flight.
    pub in_flight: InFlight,
    /// Whether the event needs no more work.
    pub finished: bool,
}

/// A record that is no such event.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It has no value.
    #[error("the record has no value")]
    NoValue,
    /// Not JSON, or not an object with the right fields.
    #[error("not such an event: {0}")]
    NotTheRightJson(#[from] serde_json::Error),
}

/// Events with the same key keep their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrderKey {
    /// The user's, as a JSON literal.
    User(String),
    /// The session's, when nobody knows whose it was.
    Session(String),
    /// The record's, when it cannot be understood.
    Record(Option<Vec<u8>>),
}

impl Work {
    /// Reads a record.
    #[must_use]
    pub fn new(
        trigger: Trigger,
        in_flight: InFlight,
        record: OwnedMessage,
        lease: Arc<PartitionLease>,
    ) -> Self {
        let event = record.payload().ok_or(Malformed::NoValue);
        let event = event.and_then(|value| Ok(trigger.read(value)?));
        Self {
            trigger,
            in_flight,
            record,
            event,
            lease,
        }
    }

    /// What must not be done side by side with it.
    #[must_use]
    pub fn order_key(&self) -> OrderKey {
        match &self.event {
            Err(_) => OrderKey::Record(self.record.key().map(<[u8]>::to_vec)),
            Ok(event) => match event.user() {
                Some(user) => OrderKey::User(user.to_owned()),
                None => OrderKey::Session(event.session_id().to_owned()),
            },
        }
    }

    /// Waits; whether it is still this process's afterwards.
    pub async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.lease.released() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// How long ago it was written, by its Kafka timestamp, at `now`.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let written = Timestamp::from_millis(self.record.timestamp().to_millis()?);
        // On another machine's clock, it may be in the future.
        let age = u64::try_from(now.since(written).as_millis()).unwrap_or_default();
        Some(Duration::from_millis(age))
    }

    /// What actions see of it, if it could be read.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery<'_>> {
        let event = self.event.as_ref().ok()?;
        let body = self.record.payload().unwrap_or_default();
        Some(Delivery { event, body })
    }
}
