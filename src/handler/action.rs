//! What the handler does about a session: one small trait, one file for each kind of
//! action.

pub mod caller;
pub mod log;
pub mod oauth_revocation;
pub mod oidc_backchannel_logout;
pub mod redis;
pub mod shared_signals;
pub mod signature;
pub mod signing;
pub mod smtp;
pub mod webhook;

#[cfg(test)]
pub(in crate::handler) mod testing;

use std::pin::Pin;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;

use super::event::Event;
use super::template::Facts;

/// Something to do about a session.
///
/// An action may see an event more than once (a crash, a rebalance, a lost answer), always
/// with the same id, and has to pass it on as the idempotency key where its target takes
/// one. An attempt must end on its own within a bound.
pub trait Action: Send + Sync {
    /// Tries once.
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a>;

    /// The public halves of the keys that it signs with, for its targets to fetch.
    fn public_keys(&self) -> Vec<Jwk> {
        Vec::new()
    }
}

/// One attempt under way.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), ActionError>> + Send + 'a>>;

/// An event as an action sees it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What it says.
    pub event: &'a Event,
    /// Its exact bytes.
    pub body: &'a [u8],
}

impl Delivery<'_> {
    /// What it has to fill templates with.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts::of(self.event)
    }
}

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
