//! Inputs and outputs of a session table as plain data.

use std::collections::BTreeMap;

use sundown_session::{EndReason, EventKind};

/// Attributes of a session, or those that a policy asks for.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Text, and whether it was a number.
pub(crate) type User = (String, bool);

/// Settings of the table, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) allowed_lateness: i64,
    pub(crate) max_future_skew: i64,
    pub(crate) slack: i64,
    pub(crate) max_sessions: usize,
}

/// A policy.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) priority: i32,
    pub(crate) idle: i64,
    pub(crate) absolute: Option<i64>,
    pub(crate) warn_before: Option<i64>,
    pub(crate) attributes: Attributes,
    pub(crate) users: Vec<String>,
    pub(crate) suspend: bool,
}

/// One session event; without a session id it is about every session of the user.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) session: Option<String>,
    pub(crate) user: Option<User>,
    pub(crate) at: i64,
    pub(crate) kind: EventKind,
    pub(crate) attributes: Option<Attributes>,
}

/// An output of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Output {
    Ended {
        session: String,
        user: Option<User>,
        reason: EndReason,
        policy: (String, u64),
        started_at: Option<i64>,
        last_activity: Option<i64>,
        ended_at: i64,
        attributes: Attributes,
    },
    Expiring {
        session: String,
        user: User,
        reason: EndReason,
        policy: (String, u64),
        last_activity: i64,
        deadline: i64,
        started_at: i64,
        attributes: Attributes,
    },
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Late,
    AlreadyEnded,
    InFlight,
    Stale,
    Refused,
}
