//! Why an attempt of an action failed.

use std::time::Duration;

/// Why an attempt failed. Reasons are for people and hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The target refused; it would refuse again.
    #[error("{reason}")]
    Permanent {
        /// Why.
        reason: String,
    },
    /// It may work later.
    #[error("{reason}")]
    Retryable {
        /// Why not now.
        reason: String,
        /// How long the target asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// There is nobody there, or nobody who lets us in: the fault is not the event's, and
    /// other events fare no better.
    #[error("{reason}")]
    Unreachable {
        /// What stands in the way.
        reason: String,
    },
}

impl ActionError {
    /// It would fail again.
    pub fn permanent(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Permanent { reason }
    }

    /// It may work later; the target did not say when.
    pub fn retryable(reason: impl Into<String>) -> Self {
        Self::Retryable {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// No other event would fare better.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Unreachable { reason }
    }
}
