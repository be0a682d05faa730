//! A record between its read and its commit.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::message::OwnedMessage;

use super::action::ActionInput;
use super::event::{Trigger, TriggerEvent};
use super::partition_lease::PartitionLease;
use crate::session::Timestamp;

/// Estimated memory of a record besides its value: key, headers and the decoded event.
const RECORD_OVERHEAD_BYTES: usize = 1024;

/// A record that has been read and not completed.
#[derive(Debug)]
pub struct InFlight {
    /// The record as it was read.
    pub record: OwnedMessage,
    /// The kind of event that the record's topic carries.
    pub trigger: Trigger,
    /// The record's decoded value.
    pub event: Result<TriggerEvent, MalformedEvent>,
    /// This process's right to run actions for the record.
    pub lease: Arc<PartitionLease>,
}

/// The end of a record's time in flight, as the consumer receives it.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The lease under which the record was in flight.
    pub lease: Arc<PartitionLease>,
    /// The record's offset.
    pub offset: i64,
    /// Memory of the record, in bytes.
    pub bytes: usize,
    /// Whether the offset may be committed; false if the event was cancelled.
    pub finished: bool,
}

/// A record whose value does not decode.
#[derive(Debug, thiserror::Error)]
pub enum MalformedEvent {
    #[error("the record has no value")]
    NoValue,
    /// The value is not JSON, or fields are missing or have the wrong type.
    #[error("the value is not a valid event: {0}")]
    Json(#[from] serde_json::Error),
}

/// Events with the same key keep their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrderKey {
    /// The user id, as a JSON literal.
    User(String),
    /// The session id, for events without a user.
    Session(String),
    /// The record's key, for values that do not decode.
    Record(Option<Vec<u8>>),
}

/// Estimates the memory that a record takes while it is in flight, in bytes.
#[must_use]
pub fn record_bytes(record: &OwnedMessage) -> usize {
    record.payload().map_or(0, <[u8]>::len) + RECORD_OVERHEAD_BYTES
}

impl InFlight {
    /// Decodes a record.
    #[must_use]
    pub fn new(trigger: Trigger, record: OwnedMessage, lease: Arc<PartitionLease>) -> Self {
        let event = record.payload().ok_or(MalformedEvent::NoValue);
        let event = event.and_then(|value| Ok(trigger.decode(value)?));
        Self {
            record,
            trigger,
            event,
            lease,
        }
    }

    /// The key within which events are handled one at a time, in order.
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

    /// Sleeps for `wait`. Returns false, at once, if the lease is released.
    pub async fn sleep(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.lease.released() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Time since the record was written, by its Kafka timestamp.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let written = Timestamp::from_millis(self.record.timestamp().to_millis()?);
        // With clock skew, the timestamp may be in the future.
        let age = u64::try_from(now.since(written).as_millis()).unwrap_or_default();
        Some(Duration::from_millis(age))
    }

    /// The event as actions see it; `None` if it is malformed.
    #[must_use]
    pub fn action_input(&self) -> Option<ActionInput<'_>> {
        let event = self.event.as_ref().ok()?;
        let body = self.record.payload().unwrap_or_default();
        Some(ActionInput { event, body })
    }

    /// Ends the record's time in flight.
    #[must_use]
    pub fn complete(&self, finished: bool) -> Completion {
        Completion {
            lease: Arc::clone(&self.lease),
            offset: self.record.offset(),
            bytes: record_bytes(&self.record),
            finished,
        }
    }
}
