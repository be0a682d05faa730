//! What the handler does about a session: one small trait, one file for each kind of
//! action.

pub mod error;
pub mod http_client;
pub mod log;
pub mod named;
pub mod oauth_revocation;
pub mod oidc_backchannel_logout;
pub mod redis;
pub mod shared_signals;
pub mod signature;
pub mod signing;
pub mod smtp;
pub mod webhook;

use std::pin::Pin;

use jsonwebtoken::jwk::Jwk;

use super::event::Event;
use super::template::TemplateContext;
use error::ActionError;

#[cfg(test)]
pub(in crate::handler) mod testing;

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
    pub fn facts(&self) -> TemplateContext {
        TemplateContext::of(self.event)
    }
}
