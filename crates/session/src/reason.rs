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
}

impl EndReason {
    /// Every reason, for metrics and documentation.
    pub const ALL: [Self; 4] = [
        Self::IdleTimeout,
        Self::AbsoluteTimeout,
        Self::Logout,
        Self::Revoked,
    ];

    /// Returns the name on the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::AbsoluteTimeout => "absolute_timeout",
            Self::Logout => "logout",
            Self::Revoked => "revoked",
        }
    }
}
