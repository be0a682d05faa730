//! Actions: the [`Action`] trait, and one file for each type of action.

pub mod error;
pub mod http_auth;
pub mod http_client;
pub mod log;
pub mod named;
pub mod oauth_client;
pub mod oauth_revocation;
pub mod oidc_backchannel_logout;
pub mod redis;
pub mod shared_signals;
pub mod signature;
pub mod signing;
pub mod smtp;
pub mod success;
pub mod webhook;

use std::pin::Pin;
use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;

use super::event::TriggerEvent;
use super::template::TemplateContext;
use error::ActionError;
use shared_signals::stream::SignalStream;

#[cfg(test)]
pub(in crate::handler) mod testing;

/// An action that runs for an event.
///
/// An action may receive an event more than once (after a crash, a rebalance or a lost
/// response), always with the same id, which it passes on as the idempotency key if its target
/// supports one. Each attempt must end within a timeout of its own.
pub trait Action: Send + Sync {
    /// Makes one attempt.
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a>;

    /// The public keys with which targets verify signatures.
    fn public_keys(&self) -> Vec<Jwk> {
        Vec::new()
    }

    /// The stream of Shared Signals that its receiver can see.
    fn stream(&self) -> Option<&Arc<SignalStream>> {
        None
    }
}

/// An attempt under way.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), ActionError>> + Send + 'a>>;

/// The input of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct ActionInput<'a> {
    pub event: &'a TriggerEvent,
    /// The bytes of the event's record value.
    pub body: &'a [u8],
}

impl ActionInput<'_> {
    #[must_use]
    pub fn template_context(&self) -> TemplateContext {
        TemplateContext::of(self.event)
    }
}
