//! Why a session ended.

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing happened for as long as its policy allows.
    IdleTimeout,
    /// It lasted as long as its policy allows, activity or not.
    AbsoluteTimeout,
    /// The user left.
    Logout,
    /// An administrator ended it.
    Revoked,
}

impl Reason {
    /// Every reason, for metrics and documentation.
    pub const ALL: [Self; 4] = [
        Self::IdleTimeout,
        Self::AbsoluteTimeout,
        Self::Logout,
        Self::Revoked,
    ];

    /// The name it has on the wire and in metrics.
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
