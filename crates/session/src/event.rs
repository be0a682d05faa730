//! What applications say about a session.

use super::attributes::Attributes;
use super::id::UserRef;
use super::time::Timestamp;

/// One user action, as an application reported it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Which session, or every live session of a user.
    pub subject: Subject<'a>,
    /// When it happened, by the application's clock.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// What the event says of the session; replaces what earlier events said.
    pub attributes: Option<&'a Attributes>,
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// One session. The user may be missing from a logout or a revocation only.
    Session {
        /// The session's id.
        id: &'a str,
        /// Whom it belongs to.
        user: Option<UserRef<'a>>,
    },
    /// Every live session of a user ("log out everywhere"); only for a logout or
    /// a revocation.
    AllSessionsOf(UserRef<'a>),
}

/// What happened in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The user did something: the idle timeout starts anew.
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
