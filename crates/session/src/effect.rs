//! Outputs of the session core.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::attributes::Attributes;
use super::checkpoint::Checkpoint;
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
    /// Write the session's state to the checkpoint topic.
    Store(Box<Checkpoint>),
    /// Remove the session's state from the checkpoint topic.
    Forget(SessionId),
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
    /// The time of the first event, or of the last login; `None` if the event that ended the session is
    /// its first.
    pub started_at: Option<Timestamp>,
    /// The latest event time seen.
    pub last_activity: Option<Timestamp>,
    /// The deadline that passed, or the time of the logout or revocation.
    pub ended_at: Timestamp,
    /// The offset of the record that started the session. With the partition it identifies the session
    /// even if its id is reused.
    pub start_offset: i64,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
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
    /// The offset of the record that started the session.
    pub start_offset: i64,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
}
