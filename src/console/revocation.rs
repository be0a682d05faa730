//! Ending sessions: writes `revoke` events, and says in the log who did.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;

use super::problem::Problem;
use crate::clock::Clock;
use crate::kafka::event_writer::{EventWriter, Target, WriteError};
use crate::kafka::topics::{TopicAdmin, require};
use crate::session::EventKind;
use crate::wire::event::encode::{SessionEvent, user_id};

/// Whose sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// This session.
    Session(String),
    /// Every live session of this user; `string` if its id is a string though it reads as
    /// a number.
    User {
        /// The user's id.
        id: String,
        /// Whether it is a string in any case.
        string: bool,
    },
}

/// Ends sessions.
#[derive(Clone)]
pub struct Revoker {
    config: ClientConfig,
    admin: TopicAdmin,
    topic: Arc<str>,
    /// Kept from one request to the next, with the partitions that it knows of: to start one
    /// takes librdkafka half a second.
    writer: Arc<Mutex<Option<(i32, EventWriter)>>>,
}

impl Revoker {
    /// Writes to `topic`.
    ///
    /// # Errors
    /// If the client's configuration is not one that librdkafka accepts.
    pub fn new(config: ClientConfig, topic: String) -> anyhow::Result<Self> {
        Ok(Self {
            admin: TopicAdmin::new(&config)?,
            config,
            topic: topic.into(),
            writer: Arc::default(),
        })
    }

    /// Writes the event and waits until it is safe.
    ///
    /// # Errors
    /// [`Problem::Invalid`] if the id cannot be one, [`Problem::Kafka`] if it is not written.
    pub async fn revoke(&self, whom: &Whom) -> Result<(), Problem> {
        let invalid = |error: &dyn std::fmt::Display| Problem::Invalid(error.to_string());
        let user = match whom {
            Whom::User { id, string } => {
                Some(user_id(id, *string).map_err(|error| invalid(&error))?)
            }
            Whom::Session(_) => None,
        };
        let event = SessionEvent {
            user_id: user.as_deref(),
            session_id: match whom {
                Whom::Session(id) => Some(id),
                Whom::User { .. } => None,
            },
            activity_timestamp: Clock::default().wall(),
            kind: EventKind::Revoke,
            attributes: None,
        };
        let value = event.to_json().map_err(|error| invalid(&error))?;
        let target = Target::of(&value).map_err(|error| invalid(&error))?;
        self.written(move |writer| {
            writer.send(&target, &value)?;
            writer.flush().map(|_count| ())
        })
        .await
    }

    /// Connects to where events are written, so that the first one need not wait for that.
    ///
    /// # Errors
    /// [`Problem::Kafka`] if the brokers do not answer. The first event tries again.
    pub async fn connect(&self) -> Result<(), Problem> {
        self.written(EventWriter::connect).await
    }

    /// Does something with the writer, off the threads that answer requests.
    async fn written(
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

    /// Blocks until the work is done. One request after the other.
    fn with_writer(
        &self,
        partitions: i32,
        work: impl FnOnce(&EventWriter) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut kept = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // One that fails is not used again, so it is taken, and put back if it does not.
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
