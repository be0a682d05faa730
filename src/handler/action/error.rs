//! Errors of attempts.

use std::time::Duration;

/// An attempt failed. Reasons are for operators and contain no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The target refused the event, and would refuse it again.
    #[error("{reason}")]
    Permanent { reason: String },
    /// A later attempt may succeed.
    #[error("{reason}")]
    Retryable {
        reason: String,
        /// The target's minimum wait, as in the HTTP header.
        retry_after: Option<Duration>,
    },
    /// The target cannot be reached, or rejects the handler's credentials. Other events would
    /// fail in the same way.
    #[error("{reason}")]
    Unreachable { reason: String },
}

impl ActionError {
    /// Creates [`ActionError::Permanent`].
    pub fn permanent(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Permanent { reason }
    }

    /// Creates [`ActionError::Retryable`] without a minimum wait.
    pub fn retryable(reason: impl Into<String>) -> Self {
        Self::Retryable {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// Creates [`ActionError::Unreachable`].
    pub fn unreachable(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Unreachable { reason }
    }
}
