//! Events that trigger actions: endings and warnings.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::session::{EndReason, Timestamp};
use crate::wire::end_reason::EndReasonFormat;
use crate::wire::terminal::{ENDED_TYPE, EXPIRING_TYPE, PolicyRef, SessionEnded, SessionExpiring};
use crate::wire::time;

/// A decoded record of a topic that triggers actions.
#[derive(Clone, Debug)]
pub enum TriggerEvent {
    /// A terminal event: the session has ended.
    Ended(SessionEnded),
    /// A warning: the session is about to end.
    Expiring(SessionExpiring),
}

/// The kind of an event that triggers actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    Ending,
    Warning,
}

/// The triggers on which an action runs: `on` in the actions file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Trigger>", expecting = "a list of ending and warning")]
pub struct Triggers(Vec<Trigger>);

/// The reasons of events for which an action runs: `reasons` in the actions file. By default all
/// but `rotated`: the user of a rotated session id goes on under another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Reason>", expecting = "a list of reasons")]
pub struct Reasons(Option<Vec<Reason>>);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Reason(#[serde(with = "EndReasonFormat")] EndReason);

/// The reason that actions have to ask for.
const ROTATED: &str = "rotated";

impl TriggerEvent {
    /// The idempotency key, equal in all deliveries of the event.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::Ended(event) => event.event_id,
            Self::Expiring(event) => event.event_id,
        }
    }

    #[must_use]
    pub fn session_id(&self) -> &str {
        match self {
            Self::Ended(event) => &event.session_id,
            Self::Expiring(event) => &event.session_id,
        }
    }

    /// The user id, as a JSON literal.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let user = match self {
            Self::Ended(event) => &event.user_id,
            Self::Expiring(event) => &event.user_id,
        };
        user.as_deref().map(RawValue::get)
    }

    #[must_use]
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Ended(event) => event.reason,
            Self::Expiring(event) => event.reason,
        }
    }

    /// The session's policy.
    #[must_use]
    pub fn policy(&self) -> &PolicyRef {
        match self {
            Self::Ended(event) => &event.policy,
            Self::Expiring(event) => &event.policy,
        }
    }

    /// The time of the session's end, past or expected; RFC 3339.
    #[must_use]
    pub fn ends_at(&self) -> &str {
        match self {
            Self::Ended(event) => &event.ended_at,
            Self::Expiring(event) => &event.expires_at,
        }
    }

    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Ended(event) => &event.attributes,
            Self::Expiring(event) => &event.attributes,
        }
    }

    /// Returns whether the event is a warning of an end that has passed at `now`.
    #[must_use]
    pub fn is_outdated(&self, now: Timestamp) -> bool {
        match self {
            Self::Ended(_) => false,
            Self::Expiring(event) => time::parse(&event.expires_at).is_some_and(|at| at <= now),
        }
    }

    #[must_use]
    pub fn trigger(&self) -> Trigger {
        match self {
            Self::Ended(_) => Trigger::Ending,
            Self::Expiring(_) => Trigger::Warning,
        }
    }
}

impl Trigger {
    /// Decodes an event of this kind.
    ///
    /// # Errors
    /// If `value` is not JSON, or fields are missing or have the wrong type.
    pub fn decode(self, value: &[u8]) -> Result<TriggerEvent, serde_json::Error> {
        match self {
            Self::Ending => serde_json::from_slice(value).map(TriggerEvent::Ended),
            Self::Warning => serde_json::from_slice(value).map(TriggerEvent::Expiring),
        }
    }

    /// The name in the actions file, in templates and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ending => "ending",
            Self::Warning => "warning",
        }
    }

    /// The CloudEvents type of its events.
    #[must_use]
    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Ending => ENDED_TYPE,
            Self::Warning => EXPIRING_TYPE,
        }
    }
}

impl Triggers {
    #[must_use]
    pub fn contains(&self, trigger: Trigger) -> bool {
        self.0.contains(&trigger)
    }
}

impl Reasons {
    #[must_use]
    pub fn contains(&self, reason: EndReason) -> bool {
        match &self.0 {
            Some(list) => list.contains(&Reason(reason)),
            None => reason.as_str() != ROTATED,
        }
    }
}

impl TryFrom<Vec<Reason>> for Reasons {
    type Error = &'static str;

    fn try_from(list: Vec<Reason>) -> Result<Self, Self::Error> {
        if list.is_empty() {
            return Err(
                "reasons: is empty, so the action would never run; name a reason or omit the field",
            );
        }
        Ok(Self(Some(list)))
    }
}

impl Default for Triggers {
    fn default() -> Self {
        Self(vec![Trigger::Ending])
    }
}

impl TryFrom<Vec<Trigger>> for Triggers {
    type Error = &'static str;

    fn try_from(list: Vec<Trigger>) -> Result<Self, Self::Error> {
        if list.is_empty() {
            return Err(
                "on: is empty, so the action would never run; name a trigger or omit the field",
            );
        }
        Ok(Self(list))
    }
}
