//! The metadata that the tracker commits with each offset.
//!
//! Kafka stores a string with every committed offset, in the same transaction, so that it can
//! never disagree with the offset: the right place for what a restore has to know.

use serde::{Deserialize, Serialize};

use super::state_hold::StateHold;
use crate::kafka::topic_ids::TopicId;
use crate::session::Timestamp;
use crate::wire::record::SourceRecord;
use crate::wire::routing::Routing;

/// The metadata of a committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// The partition's watermark at the commit; `None` if it had never moved.
    pub watermark: Option<Timestamp>,
    /// The offset from which a restore has to replay the source, at most the committed offset.
    pub replay_from: i64,
    /// What the offset belongs to.
    pub identity: LogIdentity,
    /// How sessions are distributed over the partitions; `None` in what earlier releases wrote.
    pub routing: Option<Routing>,
}

/// The topics that a committed offset belongs to. What is unknown is not compared: brokers may
/// have no topic ids, and earlier releases committed none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    /// The id of the source topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// The id of the checkpoint topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<TopicId>,
    /// The number of partitions of the source topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// The live sessions in the checkpoint partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// The last record that was read before the offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_record: Option<LastRecord>,
}

/// Identifies a record of the source partition. After an unclean leader election, the log may be cut and grow
/// again, so that other records have the offsets of those that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    pub offset: i64,
    /// Its Kafka timestamp in epoch milliseconds.
    pub timestamp: i64,
}

impl LastRecord {
    /// Checks a record of the partition as it is now.
    ///
    /// # Errors
    /// [`StateHold::LogReplaced`] if the record is another one at the same offset.
    pub fn check(&self, record: &impl SourceRecord) -> Result<(), StateHold> {
        let (offset, timestamp) = (record.offset(), record.timestamp().0.as_millis());
        if offset == self.offset && timestamp != self.timestamp {
            return Err(StateHold::LogReplaced { offset });
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark: Option<i64>,
    replay_from: i64,
    #[serde(flatten)]
    identity: LogIdentity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routing: Option<Routing>,
}

const VERSION: u8 = 1;

impl OffsetMetadata {
    /// Encodes as `{"v":1,"watermark":…,"replay_from":…,"topic_id":…,"routing":…}`, times in epoch
    /// milliseconds.
    #[must_use]
    pub fn encode(&self) -> String {
        let wire = Wire {
            v: VERSION,
            watermark: self.watermark.map(Timestamp::as_millis),
            replay_from: self.replay_from,
            identity: self.identity,
            routing: self.routing,
        };
        // Numbers and texts always serialize.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Decodes metadata; `None` if it is not the tracker's, damaged, or of a later release.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(text).ok()?;
        (wire.v == VERSION).then_some(Self {
            watermark: wire.watermark.map(Timestamp::from_millis),
            replay_from: wire.replay_from,
            identity: wire.identity,
            routing: wire.routing,
        })
    }
}

impl LogIdentity {
    /// Compares the topics at a commit with `actual`.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, actual: &Self) -> Result<(), StateHold> {
        if let Some((committed, actual)) = differ(self.topic_id, actual.topic_id) {
            return Err(StateHold::TopicRecreated { committed, actual });
        }
        if let Some((committed, actual)) = differ(self.checkpoint_id, actual.checkpoint_id) {
            return Err(StateHold::CheckpointRecreated { committed, actual });
        }
        match differ(self.partitions, actual.partitions) {
            Some((committed, actual)) if committed > actual => {
                Err(StateHold::PartitionsRemoved { committed, actual })
            }
            _ => Ok(()),
        }
    }

    /// Compares the number of sessions at a commit with those found in the checkpoint.
    ///
    /// # Errors
    /// [`StateHold::CheckpointIncomplete`].
    pub fn check_sessions(&self, found: usize) -> Result<(), StateHold> {
        let found = found as u64;
        match self.sessions {
            Some(committed) if committed != found => {
                Err(StateHold::CheckpointIncomplete { committed, found })
            }
            _ => Ok(()),
        }
    }
}

/// Both, if they are known and differ.
fn differ<T: PartialEq>(committed: Option<T>, actual: Option<T>) -> Option<(T, T)> {
    committed.zip(actual).filter(|(a, b)| a != b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::routing::RoutingKey;

    fn id(letter: char) -> Option<TopicId> {
        TopicId::try_from(letter.to_string().repeat(22)).ok()
    }

    #[test]
    fn encoded_metadata_is_decoded() {
        let routing = Routing {
            partitions: 3,
            key: RoutingKey::UserId,
        };
        for (watermark, routing) in [
            (None, Some(routing)),
            (Some(Timestamp::from_millis(1_764_000_000_123)), None),
        ] {
            for sessions in [None, Some(7)] {
                let metadata = OffsetMetadata {
                    watermark,
                    replay_from: 42,
                    identity: LogIdentity {
                        topic_id: id('a'),
                        sessions,
                        last_record: sessions.map(|_| LastRecord {
                            offset: 41,
                            timestamp: 1_764_000_000_000,
                        }),
                        ..LogIdentity::default()
                    },
                    routing,
                };
                assert_eq!(OffsetMetadata::decode(&metadata.encode()), Some(metadata));
            }
        }
    }

    #[test]
    fn metadata_of_earlier_releases_is_of_any_topic() {
        let metadata = OffsetMetadata::decode(r#"{"v":1,"replay_from":3}"#).unwrap();
        assert_eq!(metadata.identity, LogIdentity::default());
        let actual = LogIdentity {
            topic_id: id('a'),
            checkpoint_id: id('b'),
            partitions: Some(3),
            ..LogIdentity::default()
        };
        assert_eq!(metadata.identity.check(&actual), Ok(()));
        assert_eq!(metadata.identity.check_sessions(5), Ok(()));
    }

    #[test]
    fn other_metadata_is_not_decoded() {
        for text in [
            "",
            "{}",
            "hello",
            r#"{"v":2,"replay_from":1}"#,
            r#"{"v":1}"#,
        ] {
            assert_eq!(OffsetMetadata::decode(text), None, "{text}");
        }
    }

    #[test]
    fn each_difference_is_named() {
        let committed = LogIdentity {
            topic_id: id('a'),
            checkpoint_id: id('b'),
            partitions: Some(3),
            sessions: Some(2),
            last_record: None,
        };
        let check = |actual: LogIdentity| committed.check(&actual).map_err(|hold| hold.reason());
        assert_eq!(check(committed), Ok(()));
        assert_eq!(check(LogIdentity::default()), Ok(()));
        for (actual, expected) in [
            (
                LogIdentity {
                    topic_id: id('x'),
                    ..committed
                },
                Err("topic_recreated"),
            ),
            (
                LogIdentity {
                    checkpoint_id: id('x'),
                    ..committed
                },
                Err("checkpoint_recreated"),
            ),
            (
                LogIdentity {
                    partitions: Some(2),
                    ..committed
                },
                Err("partitions_removed"),
            ),
            (
                LogIdentity {
                    partitions: Some(4),
                    ..committed
                },
                Ok(()),
            ),
        ] {
            assert_eq!(check(actual), expected);
        }
        for (found, whole) in [(1, false), (2, true), (3, false)] {
            assert_eq!(committed.check_sessions(found).is_ok(), whole);
        }
    }
}
