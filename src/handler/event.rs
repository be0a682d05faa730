//! What the handler acts on: a session that is over, or one that will be soon.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::wire::terminal::{
    ENDED_TYPE, EXPIRING_TYPE, EndReason, PolicyRef, SessionEnded, SessionExpiring,
};

/// An event as it was read.
#[derive(Clone, Debug)]
pub enum Event {
    /// A terminal event.
    Ended(SessionEnded),
    /// A warning.
    Expiring(SessionExpiring),
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A session is over.
    Ending,
    /// A session will be over soon.
    Warning,
}

/// On which triggers an action runs: `on` in the actions file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Trigger>", expecting = "a list of ending and warning")]
pub struct Triggers(Vec<Trigger>);

impl Event {
    /// The idempotency key: the same in every delivery.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::Ended(event) => event.event_id,
            Self::Expiring(event) => event.event_id,
        }
    }

    /// Which session.
    #[must_use]
    pub fn session_id(&self) -> &str {
        match self {
            Self::Ended(event) => &event.session_id,
            Self::Expiring(event) => &event.session_id,
        }
    }

    /// Whose, as a JSON literal.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let user = match self {
            Self::Ended(event) => &event.user_id,
            Self::Expiring(event) => &event.user_id,
        };
        user.as_deref().map(RawValue::get)
    }

    /// Why it is over, or will be.
    #[must_use]
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Ended(event) => event.reason,
            Self::Expiring(event) => event.reason,
        }
    }

    /// The policy that it ran under, or runs under.
    #[must_use]
    pub fn policy(&self) -> &PolicyRef {
        match self {
            Self::Ended(event) => &event.policy,
            Self::Expiring(event) => &event.policy,
        }
    }

    /// When it was over, or will be; RFC 3339.
    #[must_use]
    pub fn ends_at(&self) -> &str {
        match self {
            Self::Ended(event) => &event.ended_at,
            Self::Expiring(event) => &event.expires_at,
        }
    }

    /// What the session's own events said of it.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Ended(event) => &event.attributes,
            Self::Expiring(event) => &event.attributes,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn trigger(&self) -> Trigger {
        match self {
            Self::Ended(_) => Trigger::Ending,
            Self::Expiring(_) => Trigger::Warning,
        }
    }
}

impl Trigger {
    /// Reads an event of this kind.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(self, value: &[u8]) -> Result<Event, serde_json::Error> {
        match self {
            Self::Ending => serde_json::from_slice(value).map(Event::Ended),
            Self::Warning => serde_json::from_slice(value).map(Event::Expiring),
        }
    }

    /// As it is written in the actions file.
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
    /// Whether `trigger` is one of them.
    #[must_use]
    pub fn include(&self, trigger: Trigger) -> bool {
        self.0.contains(&trigger)
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
            return Err("on: names no trigger, so the action would never run; leave it out");
        }
        Ok(Self(list))
    }
}
