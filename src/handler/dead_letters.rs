//! Writes the dead letters of terminal events. A dead letter counts as written once the brokers
//! acknowledge it; until then the write is retried.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use rdkafka::producer::FutureRecord;

use super::in_flight::{InFlight, MalformedEvent};
use crate::health::Health;
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer::RecreatingProducer;
use crate::session::Timestamp;
use crate::wire::dead_letter::{self, Cause, Origin};

/// The time that librdkafka tries to deliver before it reports an error. The write is then
/// retried.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Above any broker limit: the source topic has already bounded the size.
const MAX_MESSAGE_BYTES: &str = "100000000";
/// The readiness condition that fails while dead letters cannot be written.
const CONDITION: &str = "dead letters";

/// The reason of a dead letter, as header and metric label. Of several reasons, the last in this
/// order applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureReason {
    /// The record is not a terminal event.
    Malformed,
    /// A target refused the event.
    Refused,
    /// Attempts or total time were used up; a redrive may succeed.
    Exhausted,
}

/// The failure of an event, as the headers of its dead letter describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEvent {
    reason: FailureReason,
    error: String,
    attempts: u32,
    /// Names of the actions that have not succeeded, joined by commas.
    pending_actions: String,
}

/// The failure of one action for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAction {
    pub action: String,
    pub reason: FailureReason,
    pub error: String,
    pub attempts: u32,
}

/// Writes dead letters.
pub struct DeadLetterWriter {
    topic: String,
    producer: RecreatingProducer,
    health: Health,
}

/// The partition was released before the event was finished.
#[derive(Debug)]
pub struct Cancelled;

impl FailureReason {
    pub const ALL: [&'static str; 3] = [
        Self::Malformed.as_str(),
        Self::Refused.as_str(),
        Self::Exhausted.as_str(),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
        }
    }
}

impl FailedEvent {
    /// The failure of a record that does not decode: all of `actions` are pending.
    #[must_use]
    pub fn malformed<'a>(error: &MalformedEvent, actions: impl Iterator<Item = &'a str>) -> Self {
        Self {
            reason: FailureReason::Malformed,
            error: error.to_string(),
            attempts: 0,
            pending_actions: join(actions, ","),
        }
    }

    /// The reason, as header and metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    /// The failure of an event with these failed actions; `None` if there are none.
    #[must_use]
    pub fn of(actions: &[FailedAction]) -> Option<Self> {
        let errors = actions
            .iter()
            .map(|action| format!("{}: {}", action.action, action.error));
        Some(Self {
            reason: actions.iter().map(|action| action.reason).max()?,
            error: join(errors, "; "),
            attempts: actions.iter().map(|action| action.attempts).max()?,
            pending_actions: join(actions.iter().map(|action| &action.action), ","),
        })
    }
}

impl FailedAction {
    /// A policy or a redrive names an action that the actions file does not have.
    #[must_use]
    pub fn unknown(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            reason: FailureReason::Refused,
            error: "the actions file has no action of this name".to_owned(),
            attempts: 0,
        }
    }

    /// The session of a warning has ended.
    #[must_use]
    pub fn outdated(action: &str, attempts: u32) -> Self {
        Self {
            action: action.to_owned(),
            reason: FailureReason::Exhausted,
            error: "the session has ended".to_owned(),
            attempts,
        }
    }

    /// The action panicked. The defect neither loses the event nor blocks the partition.
    #[must_use]
    pub fn panicked(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            reason: FailureReason::Refused,
            error: "the action panicked; please report this defect".to_owned(),
            attempts: 1,
        }
    }
}

impl DeadLetterWriter {
    /// Creates a writer to `topic`.
    ///
    /// # Errors
    /// If librdkafka does not accept the configuration.
    pub fn new(mut config: ClientConfig, topic: String, health: Health) -> KafkaResult<Self> {
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", MAX_MESSAGE_BYTES)
            .set(
                "message.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            );
        Ok(Self {
            topic,
            producer: RecreatingProducer::new(config)?,
            health,
        })
    }

    /// Writes the dead letter of an event: key and value unchanged, the failure appended to the
    /// headers. Retries until the brokers acknowledge it.
    ///
    /// # Errors
    /// [`Cancelled`] if the partition is released first.
    pub async fn write(&self, in_flight: &InFlight, failed: &FailedEvent) -> Result<(), Cancelled> {
        let record = &in_flight.record;
        let headers = headers(record, failed);
        loop {
            let letter = FutureRecord {
                topic: &self.topic,
                partition: None,
                payload: record.payload(),
                key: record.key(),
                timestamp: None,
                headers: Some(headers.clone()),
            };
            match self.producer.send(letter, DELIVERY_TIMEOUT).await {
                Ok(_) => break,
                Err(error) => self.report(&error),
            }
            if !in_flight.sleep(RETRY_INTERVAL).await {
                return Err(Cancelled);
            }
        }
        self.health.set_ready(CONDITION);
        let reason = failed.reason();
        tracing::warn!(
            partition = record.partition(),
            offset = record.offset(),
            reason,
            pending_actions = failed.pending_actions,
            topic = self.topic,
            "event dead-lettered"
        );
        Ok(())
    }

    fn report(&self, error: &KafkaError) {
        let topic = &self.topic;
        let reason = format!(
            "cannot write to {topic}: {}; check that the topic exists, that this user may write \
             to it and that its max.message.bytes is at least that of the source topic",
            WithHint(error)
        );
        tracing::error!(reason, "dead letter not written; retrying");
        self.health.set_not_ready(CONDITION, reason);
    }
}

fn headers(record: &OwnedMessage, failed: &FailedEvent) -> OwnedHeaders {
    let existing = record.headers().cloned().unwrap_or_else(OwnedHeaders::new);
    let cause = Cause {
        reason: failed.reason.as_str(),
        error: failed.error.clone(),
        attempts: failed.attempts,
    };
    let origin = Origin {
        topic: record.topic(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp: Timestamp::from_millis(record.timestamp().to_millis().unwrap_or_default()),
    };
    dead_letter::headers(existing, &cause, origin).insert(Header {
        key: dead_letter::PENDING_ACTIONS,
        value: Some(&failed.pending_actions),
    })
}

fn join(parts: impl Iterator<Item = impl AsRef<str>>, separator: &str) -> String {
    let mut joined = String::new();
    for part in parts {
        if !joined.is_empty() {
            joined.push_str(separator);
        }
        joined.push_str(part.as_ref());
    }
    joined
}
