//! Which partition an event belongs on.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::partitioner::murmur2_partition;
use crate::session::Subject;

/// The id in an event's value that names its partition.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum RoutingKey {
    /// The session id.
    #[default]
    SessionId,
    /// The user id: all sessions of a user are on one partition.
    UserId,
}

impl RoutingKey {
    /// Returns the value of `--routing-key`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionId => "session_id",
            Self::UserId => "user_id",
        }
    }
}

/// How events are distributed over the partitions of the session event topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Routing {
    /// The number of partitions that have sessions: the first ones of the topic. Partitions that were
    /// added later have none; their events are forwarded.
    pub partitions: i32,
    /// The id that names the partition.
    pub key: RoutingKey,
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On this partition.
    Partition(i32),
    /// On all partitions: it concerns sessions that may be on any of them.
    EveryPartition,
    /// Nowhere: the event does not have the routing key.
    Unknown,
}

impl Routing {
    /// Returns where an event about `subject` belongs.
    #[must_use]
    pub fn route(self, subject: Subject<'_>) -> Route {
        match self.id(subject) {
            Some(id) => {
                let partition = murmur2_partition(Some(id.as_bytes()), self.partitions);
                partition.map_or(Route::Unknown, Route::Partition)
            }
            None if matches!(subject, Subject::Session { .. }) => Route::Unknown,
            None => Route::EveryPartition,
        }
    }

    /// Returns the id that names the partition of an event about `subject`, if the event has it.
    #[must_use]
    pub fn id(self, subject: Subject<'_>) -> Option<&str> {
        match (self.key, subject) {
            (RoutingKey::SessionId, Subject::Session { id, .. }) => Some(id),
            (RoutingKey::UserId, Subject::Session { user, .. }) => user.map(|user| user.text),
            (RoutingKey::UserId, Subject::AllSessionsOf { user, .. }) => Some(user.text),
            (RoutingKey::SessionId, Subject::AllSessionsOf { .. })
            | (_, Subject::Matching { .. }) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Attributes, UserRef};

    fn routing(key: RoutingKey) -> Routing {
        Routing { partitions: 3, key }
    }

    #[test]
    fn the_id_in_the_value_names_the_partition() {
        let user = UserRef {
            text: "foobar",
            number: false,
        };
        let on = |key: &str| murmur2_partition(Some(key.as_bytes()), 3).map(Route::Partition);
        let session = |user| Subject::Session { id: "21", user };
        let (by_session, by_user) = (RoutingKey::SessionId, RoutingKey::UserId);
        let route = |key, subject| Some(routing(key).route(subject));
        assert_eq!(route(by_session, session(Some(user))), on("21"));
        assert_eq!(route(by_session, session(None)), on("21"));
        assert_eq!(route(by_user, session(Some(user))), on("foobar"));
        assert_eq!(route(by_user, session(None)), Some(Route::Unknown));
    }

    #[test]
    fn an_event_of_many_sessions_belongs_where_they_may_be() {
        let user = UserRef {
            text: "foobar",
            number: false,
        };
        let of_user = Subject::AllSessionsOf { user, except: None };
        let attributes = Attributes::default();
        let matching = Subject::Matching {
            attributes: &attributes,
        };
        let of = |key, subject| routing(key).route(subject);
        let home = murmur2_partition(Some(b"foobar"), 3).unwrap();
        assert_eq!(of(RoutingKey::UserId, of_user), Route::Partition(home));
        assert_eq!(of(RoutingKey::SessionId, of_user), Route::EveryPartition);
        for key in [RoutingKey::UserId, RoutingKey::SessionId] {
            assert_eq!(of(key, matching), Route::EveryPartition);
        }
    }
}
