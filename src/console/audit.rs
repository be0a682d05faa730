//! Audit records: who did what to whom, and the outcome.
//!
//! Changes and logins are in the audit topic and, whatever the log filter, in the log, with the target
//! `audit`. Looks at personal data are in the topic alone.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::producer::FutureRecord;
use serde::Serialize;

use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer::RecreatingProducer;
use crate::wire::time;

/// Bounds the delivery of a record, and so what it adds to a change.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on records that are not acknowledged yet; further ones are in the log alone.
const MAX_IN_FLIGHT: u32 = 10_000;

/// The sender of a request, as audit records name it.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `anonymous`, `browser`, `token` or `provider`.
    pub by: &'static str,
    /// The user who has logged in, the name of the token, or the user that a trusted proxy has named.
    pub user: Option<Arc<str>>,
    pub from: IpAddr,
}

/// What an actor wanted.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// A word, such as `revoke`.
    pub action: &'static str,
    /// To whom or what.
    pub subject: &'a str,
    /// Why, in the words of the actor.
    pub note: Option<&'a str>,
}

/// Writes audit records.
pub struct AuditLog {
    producer: RecreatingProducer,
    topic: String,
    clock: Clock,
}

/// The value of a record in the audit topic.
#[derive(Debug, Serialize)]
struct AuditRecord<'a> {
    at: String,
    action: &'static str,
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    from: IpAddr,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    outcome: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl AuditLog {
    /// Creates a log that writes to `topic`, from the configuration of a producer.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(mut config: ClientConfig, topic: String, clock: Clock) -> KafkaResult<Self> {
        config
            .set(
                "message.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            )
            .set("queue.buffering.max.messages", MAX_IN_FLIGHT.to_string());
        Ok(Self {
            producer: RecreatingProducer::new(config)?,
            topic,
            clock,
        })
    }

    /// Records a change that was requested, and waits until the brokers have the record.
    pub async fn change<T, E: fmt::Display>(
        &self,
        actor: &Actor,
        deed: Deed<'_>,
        outcome: &Result<T, E>,
    ) {
        let reason = outcome.as_ref().err().map(ToString::to_string);
        let record = self.record(actor, deed, reason.as_deref());
        tracing::info!(
            target: "audit",
            action = record.action,
            by = record.by,
            user = record.user,
            from = %record.from,
            subject = record.subject,
            note = record.note,
            outcome = record.outcome,
            reason = record.reason,
            "change requested"
        );
        let value = serde_json::to_string(&record);
        self.write(actor, value.unwrap_or_default()).await;
    }

    /// Records a look at personal data. Does not wait for the brokers.
    pub fn look(self: &Arc<Self>, actor: Actor, subject: &str) {
        let deed = Deed {
            action: "look",
            subject,
            note: None,
        };
        let value = serde_json::to_string(&self.record(&actor, deed, None));
        let log = Arc::clone(self);
        tokio::spawn(async move { log.write(&actor, value.unwrap_or_default()).await });
    }

    fn record<'a>(
        &self,
        actor: &'a Actor,
        deed: Deed<'a>,
        reason: Option<&'a str>,
    ) -> AuditRecord<'a> {
        AuditRecord {
            at: time::format(self.clock.wall()),
            action: deed.action,
            by: actor.by,
            user: actor.user.as_deref(),
            from: actor.from,
            subject: deed.subject,
            note: deed.note,
            outcome: if reason.is_some() { "refused" } else { "done" },
            reason,
        }
    }

    /// Writes a record under the name of its actor. What the brokers do not acknowledge is in the log.
    async fn write(&self, actor: &Actor, value: String) {
        let topic = self.topic.as_str();
        let key = actor.user.as_deref().unwrap_or(actor.by);
        let record = FutureRecord::to(topic).key(key).payload(&value);
        if let Err(error) = self.producer.send(record, Duration::ZERO).await {
            let error = WithHint(&error);
            tracing::warn!(target: "audit", topic, %error, record = value, "an audit record was not written");
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
