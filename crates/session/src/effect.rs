//! Outputs of the session core.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::attributes::Attributes;
use super::checkpoint::{Record, RecordKey};
use super::event::Initiator;
use super::id::{SessionId, UserId};
use super::policy::Policy;
use super::reason::EndReason;
use super::time::Timestamp;

/// One output of a [`SessionTable`](super::SessionTable); the order of outputs matters.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The session ended: write its terminal event.
    Ended(Box<Ending>),
    /// The session ends soon: write a warning.
    Expiring(Box<Expiring>),
    /// Write the record to the checkpoint topic.
    Store(Record),
    /// Remove the record of this key from the checkpoint topic.
    Forget(RecordKey),
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// The session id.
    pub session: SessionId,
    /// The user; `None` if only an event without a user named the session.
    pub user: Option<UserId>,
    /// The reason of the ending.
    pub reason: EndReason,
    /// The policy that applied.
    pub policy: Arc<Policy>,
    /// The earliest event time; `None` if the event that ended the session is its only one.
    pub started_at: Option<Timestamp>,
    /// The latest event time before the end.
    pub last_activity: Option<Timestamp>,
    /// The deadline that passed, or the time of the logout or revocation; never before `started_at`.
    pub ended_at: Timestamp,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
    /// Who ended the session, if the event names them.
    pub initiator: Option<Initiator>,
}

impl Ending {
    /// Returns the time that, with id and reason, identifies the ending: two sessions of one id differ
    /// in it, and it is the same however often and wherever the log is read.
    #[must_use]
    pub fn identifying_time(&self) -> Timestamp {
        self.started_at.unwrap_or(self.ended_at)
    }
}

/// A session that ends soon unless activity arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct Expiring {
    /// The session id.
    pub session: SessionId,
    /// The user of the session.
    pub user: UserId,
    /// The policy that applies.
    pub policy: Arc<Policy>,
    /// The timeout that ends the session if no activity arrives.
    pub reason: EndReason,
    /// The latest event time seen.
    pub last_activity: Timestamp,
    /// The time of that ending.
    pub deadline: Timestamp,
    /// The earliest event time.
    pub started_at: Timestamp,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
}
