//! Revocations of many sessions, remembered for sessions that turn up late.

use alloc::boxed::Box;

use super::attributes::Attributes;
use super::event::Initiator;
use super::id::{SessionId, UserId};
use super::reason::EndReason;
use super::time::Timestamp;

/// A logout or revocation by user or by attributes: no session that it matches outlives its time,
/// unless it began or was reauthenticated afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct CutOff {
    /// The sessions that it ends.
    pub scope: CutOffScope,
    /// A session that goes on.
    pub except: Option<SessionId>,
    /// The time of the event.
    pub at: Timestamp,
    /// The reason of the endings.
    pub reason: EndReason,
    /// Who asked for it, if the event names them.
    pub initiator: Option<Box<Initiator>>,
}

/// The sessions that a [`CutOff`] ends.
#[derive(Clone, Debug, PartialEq)]
pub enum CutOffScope {
    /// Those of a user.
    User(UserId),
    /// Those that have all of these attributes; every session if they are empty.
    Matching(Attributes),
}
