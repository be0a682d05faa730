//! Terminal events and warnings: JSON values with CloudEvents headers.
//!
//! The headers follow the CloudEvents 1.0 Kafka protocol binding, binary content mode.

use std::collections::BTreeMap;

use rdkafka::message::{Header, OwnedHeaders};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::schema::UserId as UserIdSchema;
use super::time;
use crate::session::{Attributes, Ending, Expiring, Policy, Reason, Timestamp, UserId};

/// `ce_type` of terminal events.
pub const ENDED_TYPE: &str = "dev.sundown.session.ended";
/// `ce_type` of warnings.
pub const EXPIRING_TYPE: &str = "dev.sundown.session.expiring";

/// The namespace of event ids (UUIDv5): fixed for good, made once at random.
const EVENT_IDS: Uuid = Uuid::from_u128(0x8f4e_6f0c_7d0b_4b5e_9a57_3c2a_61d8_e4b2);

/// The partition of session events that an event came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
}

/// A terminal event: this session is over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionEnded {
    /// The same in every retry and replay; another for every session.
    pub event_id: Uuid,
    /// Which session.
    pub session_id: String,
    /// Whose: number or string, as the application wrote it. Null if no event named one.
    #[schemars(with = "Option<UserIdSchema>")]
    pub user_id: Option<Box<RawValue>>,
    /// Why.
    pub reason: EndReason,
    /// The policy that the session ran under.
    pub policy: PolicyRef,
    /// The time of its first event or last login, RFC 3339. Null if nothing was heard of
    /// it before its end.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// The latest event time seen, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_activity: Option<String>,
    /// The deadline that passed, or when it was ended; RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub ended_at: String,
    /// When Sundown noticed, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub detected_at: String,
    /// What the session's events said of it.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// A warning: this session will be over soon, unless something happens in it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionExpiring {
    /// The same in every retry and replay; another for every warning.
    pub event_id: Uuid,
    /// Which session.
    pub session_id: String,
    /// Whose: number or string, as the application wrote it.
    #[schemars(with = "Option<UserIdSchema>")]
    pub user_id: Option<Box<RawValue>>,
    /// What will have ended it.
    pub reason: EndReason,
    /// The policy that the session runs under.
    pub policy: PolicyRef,
    /// The latest event time seen, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_activity: String,
    /// When it will be over, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// What the session's events said of it.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// Which policy, in which state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// `namespace/name` in Kubernetes, the bare name elsewhere.
    pub name: String,
    /// Rises with every change of the policy; 0 for the built-in one.
    pub generation: u64,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Nothing happened for as long as its policy allows.
    IdleTimeout,
    /// It lasted as long as its policy allows.
    AbsoluteTimeout,
    /// The user left.
    Logout,
    /// An administrator ended it.
    Revoked,
}

impl SessionEnded {
    /// The terminal event of a session that ended on `source`, noticed at `detected_at`.
    #[must_use]
    pub fn new(ending: &Ending, source: Source<'_>, detected_at: Timestamp) -> Self {
        Self {
            event_id: event_id(source, ending.start_offset, ending.reason.as_str()),
            session_id: ending.session.to_string(),
            user_id: ending.user.as_ref().and_then(user_literal),
            reason: ending.reason.into(),
            policy: ending.policy.as_ref().into(),
            started_at: ending.started_at.map(time::format),
            last_activity: ending.last_activity.map(time::format),
            ended_at: time::format(ending.ended_at),
            detected_at: time::format(detected_at),
            attributes: attribute_map(ending.attributes.as_ref()),
        }
    }

    /// The CloudEvents headers of the record; `source` becomes `ce_source`.
    #[must_use]
    pub fn headers(&self, source: Source<'_>) -> OwnedHeaders {
        cloud_event(self.event_id, ENDED_TYPE, source, &self.ended_at)
    }
}

impl SessionExpiring {
    /// The warning of a session on `source`.
    #[must_use]
    pub fn new(expiring: &Expiring, source: Source<'_>) -> Self {
        let what = format!("expiring-{}", expiring.deadline.as_millis());
        Self {
            event_id: event_id(source, expiring.start_offset, &what),
            session_id: expiring.session.to_string(),
            user_id: user_literal(&expiring.user),
            reason: expiring.reason.into(),
            policy: expiring.policy.as_ref().into(),
            last_activity: time::format(expiring.last_activity),
            expires_at: time::format(expiring.deadline),
            attributes: attribute_map(expiring.attributes.as_ref()),
        }
    }

    /// The CloudEvents headers of the record; `source` becomes `ce_source`.
    #[must_use]
    pub fn headers(&self, source: Source<'_>) -> OwnedHeaders {
        cloud_event(self.event_id, EXPIRING_TYPE, source, &self.expires_at)
    }
}

impl EndReason {
    /// As it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::AbsoluteTimeout => "absolute_timeout",
            Self::Logout => "logout",
            Self::Revoked => "revoked",
        }
    }
}

impl From<Reason> for EndReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::IdleTimeout => Self::IdleTimeout,
            Reason::AbsoluteTimeout => Self::AbsoluteTimeout,
            Reason::Logout => Self::Logout,
            Reason::Revoked => Self::Revoked,
        }
    }
}

impl From<&Policy> for PolicyRef {
    fn from(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            generation: policy.generation,
        }
    }
}

/// The id of an event about the session that started at `start_offset` of `source`:
/// derived, so that whoever works it out again gets the same.
fn event_id(source: Source<'_>, start_offset: i64, what: &str) -> Uuid {
    let name = format!(
        "{}/{}/{start_offset}/{what}",
        source.topic, source.partition
    );
    Uuid::new_v5(&EVENT_IDS, name.as_bytes())
}

/// A user id as the application wrote it.
pub(crate) fn user_literal(user: &UserId) -> Option<Box<RawValue>> {
    let text = user.text.to_string();
    let literal = if user.number {
        text
    } else {
        serde_json::Value::String(text).to_string()
    };
    // A number's literal was valid JSON when it came in.
    RawValue::from_string(literal)
        .ok()
        .filter(|raw| raw.get() != "\"\"")
}

fn attribute_map(attributes: Option<&Attributes>) -> BTreeMap<String, String> {
    let pairs = attributes.into_iter().flat_map(Attributes::iter);
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn cloud_event(id: Uuid, kind: &str, source: Source<'_>, time: &str) -> OwnedHeaders {
    [
        ("ce_specversion", "1.0"),
        ("ce_id", &id.to_string()),
        ("ce_type", kind),
        (
            "ce_source",
            &format!("/sundown/{}/{}", source.topic, source.partition),
        ),
        ("ce_time", time),
        ("content-type", "application/json"),
    ]
    .iter()
    .fold(
        OwnedHeaders::new_with_capacity(6),
        |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(*value),
            })
        },
    )
}
