//! Session events.

use alloc::boxed::Box;

use super::attributes::Attributes;
use super::id::UserRef;
use super::reason::EndReason;
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
    /// The attributes of the session; those of the latest event that has any apply.
    pub attributes: Option<&'a Attributes>,
    /// Who ended the session and why; meaningful for events that end sessions.
    pub initiator: Option<&'a Initiator>,
}

/// The session or sessions that an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// One session. The user may be missing from an event that ends the session.
    Session {
        /// The session id.
        id: &'a str,
        /// The user of the session.
        user: Option<UserRef<'a>>,
    },
    /// Every session of a user ("log out everywhere"); only for a logout or a revocation.
    AllSessionsOf {
        /// The user.
        user: UserRef<'a>,
        /// A session that goes on.
        except: Option<&'a str>,
    },
    /// Every session that has all of these attributes; every session if they are empty. Only for a
    /// logout or a revocation.
    Matching {
        /// The attributes with their values.
        attributes: &'a Attributes,
    },
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
    /// Another id has replaced this one.
    Rotated,
}

impl EventKind {
    /// Returns the kind of the events that end a session for `reason`.
    pub(super) const fn ending_with(reason: EndReason) -> Self {
        match reason {
            EndReason::Revoked => Self::Revoke,
            EndReason::Rotated => Self::Rotated,
            EndReason::Logout
            | EndReason::IdleTimeout
            | EndReason::AbsoluteTimeout
            | EndReason::SessionLimit => Self::Logout,
        }
    }

    /// Returns the reason that the event gives to an ending; `None` if it ends nothing.
    #[must_use]
    pub const fn ends_with(self) -> Option<EndReason> {
        match self {
            Self::Activity | Self::Login => None,
            Self::Logout => Some(EndReason::Logout),
            Self::Revoke => Some(EndReason::Revoked),
            Self::Rotated => Some(EndReason::Rotated),
        }
    }
}

/// Who ended a session, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initiator {
    /// The person or system that asked for it.
    pub by: Option<Box<str>>,
    /// The reason given.
    pub note: Option<Box<str>>,
}
