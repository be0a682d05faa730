//! Revocation of sessions: writes `revoke` events to the session event topic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;

use super::problem::Problem;
use crate::clock::Clock;
use crate::kafka::event_writer::{EventWriter, Target, WriteError};
use crate::kafka::topics::{TopicAdmin, require};
use crate::session::{EventKind, Initiator};
use crate::wire::event::encode::{SessionEvent, user_id};

/// The sessions to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevocationTarget {
    Session(String),
    /// All live sessions of a user.
    User {
        id: String,
        /// Whether the id is a string even if it looks like a number.
        string: bool,
        /// A session that goes on.
        except: Option<String>,
    },
    /// All live sessions that have these attributes; all sessions without attributes.
    Matching(BTreeMap<String, String>),
}

/// Revokes sessions.
#[derive(Clone)]
pub struct Revoker {
    config: ClientConfig,
    admin: TopicAdmin,
    topic: Arc<str>,
    /// The writer and its partition count, kept between requests because librdkafka takes half
    /// a second to start one.
    writer: Arc<Mutex<Option<(i32, EventWriter)>>>,
}

impl Revoker {
    /// Creates a revoker for the session event topic `topic`.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(config: ClientConfig, topic: String) -> anyhow::Result<Self> {
        Ok(Self {
            admin: TopicAdmin::new(&config)?,
            config,
            topic: topic.into(),
            writer: Arc::default(),
        })
    }

    /// Writes the event, with who ends the sessions and why, and waits for its acknowledgment.
    ///
    /// # Errors
    /// [`Problem::Invalid`] for an invalid id, [`Problem::Kafka`] if the write fails.
    pub async fn revoke(
        &self,
        target: &RevocationTarget,
        initiator: &Initiator,
    ) -> Result<(), Problem> {
        let invalid = |error: &dyn std::fmt::Display| Problem::Invalid(error.to_string());
        let user = match target {
            RevocationTarget::User { id, string, .. } => {
                Some(user_id(id, *string).map_err(|error| invalid(&error))?)
            }
            RevocationTarget::Session(_) | RevocationTarget::Matching(_) => None,
        };
        let event = SessionEvent {
            by: initiator.by.as_deref(),
            note: initiator.note.as_deref(),
            ..SessionEvent::new(EventKind::Revoke, Clock::default().wall())
        };
        let event = match target {
            RevocationTarget::Session(id) => SessionEvent {
                session_id: Some(id),
                ..event
            },
            RevocationTarget::User { except, .. } => SessionEvent {
                user_id: user.as_deref(),
                except_session_id: except.as_deref(),
                ..event
            },
            RevocationTarget::Matching(attributes) => SessionEvent {
                matches: Some(attributes),
                ..event
            },
        };
        let value = event.to_json().map_err(|error| invalid(&error))?;
        let partition = Target::of(&value).map_err(|error| invalid(&error))?;
        self.run_with_writer(move |writer| {
            writer.send(&partition, &value)?;
            writer.flush().map(|_count| ())
        })
        .await
    }

    /// Connects to the partition leaders in advance, so that the first revocation is fast.
    ///
    /// # Errors
    /// [`Problem::Kafka`] if the brokers do not respond. The first revocation connects again.
    pub async fn connect(&self) -> Result<(), Problem> {
        self.run_with_writer(EventWriter::connect).await
    }

    /// Runs `work` with the writer on a blocking thread.
    async fn run_with_writer(
        &self,
        work: impl FnOnce(&EventWriter) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<(), Problem> {
        let kafka = |error: &dyn std::fmt::Display| Problem::Kafka(error.to_string());
        let existing = require(&self.admin, &[&self.topic]).await;
        let existing = existing.map_err(|error| kafka(&error))?;
        let partitions = existing[&*self.topic].partition_count();
        let revoker = self.clone();
        let outcome =
            tokio::task::spawn_blocking(move || revoker.with_writer(partitions, work)).await;
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(kafka(&error)),
            Err(error) => Err(kafka(&error)),
        }
    }

    /// Blocks until `work` is done; concurrent requests wait for each other.
    fn with_writer(
        &self,
        partitions: i32,
        work: impl FnOnce(&EventWriter) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut kept = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A writer that has failed is not reused: it is put back only after success.
        let writer = match kept.take() {
            Some((known, writer)) if known == partitions => writer,
            _ => EventWriter::new(self.config.clone(), &self.topic, partitions)?,
        };
        work(&writer)?;
        *kept = Some((partitions, writer));
        Ok(())
    }
}

impl std::fmt::Debug for Revoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revoker")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
