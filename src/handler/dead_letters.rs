//! The dead-letter topic of terminal events: nothing counts as written before the brokers
//! have said so, and nothing is dropped because they do not.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use super::work::{Malformed, Work};
use crate::handler::metrics::HandlerMetrics;
use crate::health::Health;
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer::RecreatingProducer;
use crate::session::Timestamp;
use crate::wire::dead_letter::{self, Cause, Origin};

/// How long librdkafka tries to deliver before it reports back; this tries on for ever.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two tries.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Larger than anything a broker would take: the source topic has judged the size already.
const MAX_MESSAGE_BYTES: &str = "100000000";
/// What the process is not ready for while dead letters cannot be written.
const CONDITION: &str = "dead letters";

/// Why an event is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is no terminal event.
    Malformed,
    /// A target refused it.
    Refused,
    /// Its attempts or its time were used up; it may work later.
    Exhausted,
}

/// What a dead letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEvent {
    reason: Reason,
    error: String,
    attempts: u32,
    pending_actions: String,
}

/// An action that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAction {
    /// Its name.
    pub action: String,
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for people.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Writes dead letters.
pub struct DeadLetters {
    topic: String,
    producer: RecreatingProducer,
    health: Health,
    metrics: HandlerMetrics,
}

/// The event was released before its dead letter was written.
#[derive(Debug)]
pub struct Cancelled;

impl Reason {
    /// All of them, as headers and metrics have them.
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
    /// For a record that is not a terminal event: all of `actions` are pending.
    #[must_use]
    pub fn malformed<'a>(error: &Malformed, actions: impl Iterator<Item = &'a str>) -> Self {
        Self {
            reason: Reason::Malformed,
            error: error.to_string(),
            attempts: 0,
            pending_actions: join(actions, ","),
        }
    }

    /// Of an event that some actions were given up on; none if there are none. Of several
    /// reasons, the one that leaves the most hope counts.
    #[must_use]
    pub fn given_up(actions: &[FailedAction]) -> Option<Self> {
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
    /// Somebody, a policy or a redrive, asks for an action that there is not.
    #[must_use]
    pub fn unknown(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            reason: Reason::Refused,
            error: "the actions file has no action of this name".to_owned(),
            attempts: 0,
        }
    }

    /// What was to be warned of has happened.
    #[must_use]
    pub fn too_late(action: &str, attempts: u32) -> Self {
        Self {
            action: action.to_owned(),
            reason: Reason::Exhausted,
            error: "the session is over by now".to_owned(),
            attempts,
        }
    }

    /// A panic is a defect, but no reason to lose the event or to stop at it for ever.
    #[must_use]
    pub fn panicked(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            reason: Reason::Refused,
            error: "the action panicked; please report this as a defect".to_owned(),
            attempts: 1,
        }
    }
}

impl DeadLetters {
    /// A writer to `topic`. `config` says how to reach Kafka.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn new(
        mut config: ClientConfig,
        topic: String,
        health: Health,
        metrics: HandlerMetrics,
    ) -> KafkaResult<Self> {
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
            metrics,
        })
    }

    /// Writes the dead letter of an event: its bytes and key untouched, the reasons behind
    /// the headers that it had. Tries until the brokers confirm it.
    ///
    /// # Errors
    /// [`Cancelled`] if the event was, before they did.
    pub async fn write(&self, work: &Work, letter: &FailedEvent) -> Result<(), Cancelled> {
        let headers = self.headers(work, letter);
        loop {
            let record = FutureRecord {
                topic: &self.topic,
                partition: None,
                payload: work.record.payload(),
                key: work.record.key(),
                timestamp: None,
                headers: Some(headers.clone()),
            };
            match self.producer.send(record, DELIVERY_TIMEOUT).await {
                Ok(_) => break,
                Err(error) => self.explain(&error),
            }
            if !work.pause(RETRY_WAIT).await {
                return Err(Cancelled);
            }
        }
        self.health.set_ready(CONDITION);
        let reason = letter.reason.as_str();
        self.metrics.dead_letter(reason);
        let in_flight = work.in_flight;
        tracing::warn!(
            partition = in_flight.partition,
            offset = in_flight.offset,
            reason,
            pending_actions = letter.pending_actions,
            topic = self.topic,
            "event dead-lettered"
        );
        Ok(())
    }

    fn headers(&self, work: &Work, letter: &FailedEvent) -> OwnedHeaders {
        let record = &work.record;
        let existing = record.headers().cloned().unwrap_or_else(OwnedHeaders::new);
        let cause = Cause {
            reason: letter.reason.as_str(),
            error: letter.error.clone(),
            attempts: letter.attempts,
        };
        let origin = Origin {
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset(),
            timestamp: Timestamp::from_millis(record.timestamp().to_millis().unwrap_or_default()),
        };
        dead_letter::headers(existing, &cause, origin).insert(Header {
            key: dead_letter::PENDING_ACTIONS,
            value: Some(&letter.pending_actions),
        })
    }

    fn explain(&self, error: &KafkaError) {
        let topic = &self.topic;
        let reason = format!(
            "cannot write to {topic}: {}; see that it exists, that this user may write to \
             it and that its max.message.bytes is no smaller than the source topic's",
            WithHint(error)
        );
        tracing::error!(reason, "a dead letter waits; trying again");
        self.health.set_not_ready(CONDITION, reason);
    }
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
