//! Terminal events and expiry warnings: JSON values with CloudEvents headers.
//!
//! The headers follow the CloudEvents 1.0 Kafka protocol binding, binary content mode.

use std::collections::BTreeMap;

use rdkafka::message::{Header, OwnedHeaders};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::end_reason::EndReasonFormat;
use super::event::schema::UserIdSchema;
use super::time;
use crate::session::{
    Attributes, EndReason, Ending, Expiring, Initiator, Policy, SessionId, Timestamp, UserId,
};

/// `ce_type` of terminal events.
pub const ENDED_TYPE: &str = "dev.sundown.session.ended";
/// `ce_type` of warnings.
pub const EXPIRING_TYPE: &str = "dev.sundown.session.expiring";

/// The UUIDv5 namespace of event ids, random and fixed.
const EVENT_ID_NAMESPACE: Uuid = Uuid::from_u128(0x8f4e_6f0c_7d0b_4b5e_9a57_3c2a_61d8_e4b2);

/// The partition of session events that an event originates from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePartition<'a> {
    pub topic: &'a str,
    pub partition: i32,
}

/// Terminal event: a session has ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionEnded {
    /// Unique per session; the same in every retry and replay.
    pub event_id: Uuid,
    pub session_id: String,
    /// User id, as written by the application: number or string. Null if no event carried
    /// one.
    #[schemars(with = "Option<UserIdSchema>")]
    pub user_id: Option<Box<RawValue>>,
    #[serde(with = "EndReasonFormat")]
    pub reason: EndReason,
    /// Policy that applied to the session.
    pub policy: PolicyRef,
    /// Time of the earliest event, RFC 3339. Null if the session has no event before its end.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// Time of the latest activity, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_activity: Option<String>,
    /// Deadline of a timeout, or time of the logout or revocation; RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub ended_at: String,
    /// Time at which Sundown ended the session, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub detected_at: String,
    /// Attributes of the session.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Who ended the session and why, if the logout or revocation named them.
    #[serde(default)]
    pub initiator: Option<InitiatorRef>,
}

/// Who ended a session, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Initiator")]
pub struct InitiatorRef {
    /// The person or system that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Expiry warning: a session ends soon unless it becomes active.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionExpiring {
    /// Unique per warning; the same in every retry and replay.
    pub event_id: Uuid,
    pub session_id: String,
    /// User id, as written by the application: number or string.
    #[schemars(with = "Option<UserIdSchema>")]
    pub user_id: Option<Box<RawValue>>,
    /// Timeout that will end the session.
    #[serde(with = "EndReasonFormat")]
    pub reason: EndReason,
    /// Policy that applies to the session.
    pub policy: PolicyRef,
    /// Time of the latest activity, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_activity: String,
    /// Time at which the session will end, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// Attributes of the session.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// Name and generation of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// `namespace/name` in Kubernetes, otherwise the name.
    pub name: String,
    /// Increases with every change of the policy; 0 for the built-in policy.
    pub generation: u64,
}

impl SessionEnded {
    /// Creates the terminal event of a session.
    #[must_use]
    pub fn new(ending: &Ending, detected_at: Timestamp) -> Self {
        Self {
            event_id: event_id(
                &ending.session,
                ending.identifying_time(),
                ending.reason.as_str(),
            ),
            session_id: ending.session.to_string(),
            user_id: ending.user.as_ref().and_then(user_literal),
            reason: ending.reason,
            policy: ending.policy.as_ref().into(),
            started_at: ending.started_at.map(time::format),
            last_activity: ending.last_activity.map(time::format),
            ended_at: time::format(ending.ended_at),
            detected_at: time::format(detected_at),
            attributes: attribute_map(ending.attributes.as_ref()),
            initiator: ending.initiator.as_ref().map(InitiatorRef::from),
        }
    }

    /// Returns the CloudEvents headers; `source` becomes `ce_source`.
    #[must_use]
    pub fn headers(&self, source: SourcePartition<'_>) -> OwnedHeaders {
        cloud_event_headers(self.event_id, ENDED_TYPE, source, &self.ended_at)
    }
}

impl SessionExpiring {
    /// Creates the warning of a session.
    #[must_use]
    pub fn new(expiring: &Expiring) -> Self {
        let suffix = format!("expiring-{}", expiring.deadline.as_millis());
        Self {
            event_id: event_id(&expiring.session, expiring.started_at, &suffix),
            session_id: expiring.session.to_string(),
            user_id: user_literal(&expiring.user),
            reason: expiring.reason,
            policy: expiring.policy.as_ref().into(),
            last_activity: time::format(expiring.last_activity),
            expires_at: time::format(expiring.deadline),
            attributes: attribute_map(expiring.attributes.as_ref()),
        }
    }

    /// Returns the CloudEvents headers; `source` becomes `ce_source`.
    #[must_use]
    pub fn headers(&self, source: SourcePartition<'_>) -> OwnedHeaders {
        cloud_event_headers(self.event_id, EXPIRING_TYPE, source, &self.expires_at)
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

impl From<&Initiator> for InitiatorRef {
    fn from(initiator: &Initiator) -> Self {
        Self {
            by: initiator.by.as_deref().map(str::to_owned),
            note: initiator.note.as_deref().map(str::to_owned),
        }
    }
}

/// Derives the id of an event from its session and the start of it. Topic, partition and offset
/// are no part of it: the same log read again, or mirrored to another cluster, gives the same id.
fn event_id(session: &SessionId, at: Timestamp, kind: &str) -> Uuid {
    let name = format!("{kind}/{}/{session}", at.as_millis());
    Uuid::new_v5(&EVENT_ID_NAMESPACE, name.as_bytes())
}

/// Returns the JSON literal of a user id, as written by the application.
pub(crate) fn user_literal(user: &UserId) -> Option<Box<RawValue>> {
    let text = user.text.to_string();
    let literal = if user.number {
        text
    } else {
        serde_json::Value::String(text).to_string()
    };
    // The literal of a number is valid JSON because it was decoded as such.
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

fn cloud_event_headers(
    id: Uuid,
    kind: &str,
    source: SourcePartition<'_>,
    time: &str,
) -> OwnedHeaders {
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
