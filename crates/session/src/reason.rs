//! Reasons of endings.

/// The reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// The idle timeout passed without activity.
    IdleTimeout,
    /// The absolute timeout passed.
    AbsoluteTimeout,
    /// The user left.
    Logout,
    /// An administrator ended the session.
    Revoked,
    /// Another id has replaced this one, at a login or a change of privileges.
    Rotated,
    /// The user had more sessions than the policy allows.
    SessionLimit,
}

impl EndReason {
    /// Every reason, for metrics and documentation.
    pub const ALL: [Self; 6] = [
        Self::IdleTimeout,
        Self::AbsoluteTimeout,
        Self::Logout,
        Self::Revoked,
        Self::Rotated,
        Self::SessionLimit,
    ];

    /// Returns the name on the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::AbsoluteTimeout => "absolute_timeout",
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Rotated => "rotated",
            Self::SessionLimit => "session_limit",
        }
    }

    /// Returns whether the session ended because time passed, rather than by a decision.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::IdleTimeout | Self::AbsoluteTimeout)
    }
}
