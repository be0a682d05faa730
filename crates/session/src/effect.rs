//! What the core asks its io to do.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::attributes::Attributes;
use super::checkpoint::Checkpoint;
use super::id::{SessionId, UserId};
use super::policy::Policy;
use super::reason::Reason;
use super::time::Timestamp;

/// One output of a [`SessionTable`](super::SessionTable), in the order in which
/// they have to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The session is over: write its terminal event.
    Ended(Box<Ending>),
    /// The session will be over soon: write a warning.
    Expiring(Box<Expiring>),
    /// Write the session's state to the checkpoint topic.
    Store(Box<Checkpoint>),
    /// Remove the session's state from the checkpoint topic.
    Forget(SessionId),
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Which session.
    pub session: SessionId,
    /// Whose; unknown only for a session that no event but the last one named.
    pub user: Option<UserId>,
    /// Why.
    pub reason: Reason,
    /// The rule that it ran under.
    pub policy: Arc<Policy>,
    /// The time of its first event, or of its last login. `None` for a session
    /// that was ended before anything else was heard of it.
    pub started_at: Option<Timestamp>,
    /// The latest event time seen.
    pub last_activity: Option<Timestamp>,
    /// The deadline that passed, or when the user or administrator ended it.
    pub ended_at: Timestamp,
    /// The offset of the record that the session started with. Together with the
    /// partition it names the session for good, ids being reused.
    pub start_offset: i64,
    /// What events said of it.
    pub attributes: Option<Attributes>,
}

/// A session whose deadline is near.
#[derive(Clone, Debug, PartialEq)]
pub struct Expiring {
    /// Which session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// The rule that it runs under.
    pub policy: Arc<Policy>,
    /// What will have ended it, if nothing happens.
    pub reason: Reason,
    /// The latest event time seen.
    pub last_activity: Timestamp,
    /// When it will be over, if nothing happens.
    pub deadline: Timestamp,
    /// The offset of the record that the session started with.
    pub start_offset: i64,
    /// What events said of it.
    pub attributes: Option<Attributes>,
}
