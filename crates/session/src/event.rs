//! Session events.

use super::attributes::Attributes;
use super::id::UserRef;
use super::time::Timestamp;

/// One user action as an application reported it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// The session or sessions that the event concerns.
    pub subject: Subject<'a>,
    /// The event time, by the application's clock.
    pub at: Timestamp,
    /// The kind of the event.
    pub kind: EventKind,
    /// The attributes of the session; they replace those of earlier events.
    pub attributes: Option<&'a Attributes>,
}

/// The session or sessions that an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// One session. The user may be missing from a logout or a revocation only.
    Session {
        /// The session id.
        id: &'a str,
        /// The user of the session.
        user: Option<UserRef<'a>>,
    },
    /// Every live session of a user ("log out everywhere"); only for a logout or
    /// a revocation.
    AllSessionsOf(UserRef<'a>),
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The user did something: the idle timeout restarts.
    #[default]
    Activity,
    /// The user authenticated: starts the session, or restarts both clocks of a
    /// running one (NIST SP 800-63B-4, section 5.2: reauthentication resets both).
    Login,
    /// The user left.
    Logout,
    /// An administrator ended it.
    Revoke,
}
