//! The ids that Kafka gives topics when they are created (KIP-516): a topic that is deleted and
//! created again has the same name and another id.
//!
//! rdkafka has no call that returns them, but librdkafka logs them with its debug context
//! `metadata`. A client of its own, which does nothing else, reads that log
//! (docs/decisions/topic-ids.md).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use serde::{Deserialize, Serialize};

use super::reader_config::reader_config;

/// Characters of a topic id: 16 bytes in base64, without padding.
const ID_LENGTH: usize = 22;
/// Bounds one poll for librdkafka's log after its response.
const LOG_TIMEOUT: Duration = Duration::from_millis(5);
/// Polls for the log.
const LOG_POLLS: u32 = 4;

/// The id of a topic, in base64 as librdkafka writes it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicId([u8; ID_LENGTH]);

/// A client that looks up topic ids.
pub struct TopicIds {
    client: BaseConsumer<IdLog>,
}

impl TopicIds {
    /// Creates a client, which connects when it is first used.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let mut config = reader_config(config, "sundown-topic-ids");
        config
            .set("debug", "metadata")
            .set_log_level(RDKafkaLogLevel::Debug);
        let client = config.create_with_context(IdLog::default())?;
        Ok(Self { client })
    }

    /// Returns the present ids of topics, in their order; `None` for a topic that does not exist,
    /// and on brokers without topic ids (Kafka before 2.8 and some services).
    ///
    /// # Errors
    /// If no broker responds within `timeout`.
    pub fn fetch<const N: usize>(
        &self,
        topics: [&str; N],
        timeout: Duration,
    ) -> KafkaResult<[Option<TopicId>; N]> {
        for topic in topics {
            self.client.fetch_metadata(Some(topic), timeout)?;
        }
        // Delivers the log; no partition is assigned. An error of the client ends a poll early.
        for _ in 0..LOG_POLLS {
            let _no_record = self.client.poll(LOG_TIMEOUT).map(|read| read.map(drop));
        }
        let ids = self.client.context().ids();
        Ok(topics.map(|topic| ids.get(topic).copied()))
    }
}

/// Keeps the latest id of each topic.
#[derive(Default)]
struct IdLog(Mutex<BTreeMap<String, TopicId>>);

impl IdLog {
    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, TopicId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for IdLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some((topic, id)) = changed_id(message) {
            self.ids().insert(topic.to_owned(), id);
        } else if level as i32 <= RDKafkaLogLevel::Warning as i32 {
            tracing::debug!(facility, message, "librdkafka");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "cannot look up topic ids; retrying");
    }
}

impl ConsumerContext for IdLog {}

/// The topic and its id in the message that librdkafka logs when it first sees an id, and when
/// it has changed: `[thrd:main]: Topic NAME changed id from OLD to NEW`.
fn changed_id(message: &str) -> Option<(&str, TopicId)> {
    let (_, change) = message.split_once("Topic ")?;
    let (topic, ids) = change.split_once(" changed id from ")?;
    let (_, id) = ids.split_once(" to ")?;
    Some((topic, TopicId::try_from(id.trim().to_owned()).ok()?))
}

impl TryFrom<String> for TopicId {
    type Error = InvalidTopicId;

    fn try_from(text: String) -> Result<Self, InvalidTopicId> {
        let id = text.trim_end_matches('=');
        let bytes = id.as_bytes().try_into().map_err(|_| InvalidTopicId)?;
        id.is_ascii().then_some(Self(bytes)).ok_or(InvalidTopicId)
    }
}

impl From<TopicId> for String {
    fn from(id: TopicId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a topic id")]
pub struct InvalidTopicId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_id_is_read_from_the_log() {
        let message = "[thrd:main]: Topic a.b changed id from AAAAAAAAAAAAAAAAAAAAAA \
                       to 4xPz0kVsTYe9S1mcvNq-Aw";
        let (topic, id) = changed_id(message).unwrap();
        assert_eq!(
            (topic, id.to_string()),
            ("a.b", "4xPz0kVsTYe9S1mcvNq-Aw".to_owned())
        );
        for other in [
            "Topic a partition 0 Leader 1",
            "Topic a changed id from x to y",
            "",
        ] {
            assert_eq!(changed_id(other), None, "{other}");
        }
    }
}
