//! What the handler does about a session that is over: one small trait, one file for
//! each kind of action.

pub mod log;
pub mod signature;
pub mod webhook;

use std::pin::Pin;
use std::time::Duration;

use crate::wire::ending::SessionEnded;

/// Something to do about a session that is over.
///
/// An action may see an event more than once (a crash, a rebalance, a lost answer), always
/// with the same `event_id`, and has to pass it on as the idempotency key where its target
/// takes one. An attempt must end on its own within a bound.
pub trait Action: Send + Sync {
    /// Tries once.
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a>;
}

/// One attempt under way.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), ActionError>> + Send + 'a>>;

/// A terminal event as an action sees it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What it says.
    pub event: &'a SessionEnded,
    /// Its exact bytes.
    pub body: &'a [u8],
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
    /// There is nobody there: the fault is not the event's, and other events fare no better.
    #[error("{reason}")]
    Unreachable {
        /// What stands in the way.
        reason: String,
    },
}
