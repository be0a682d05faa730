//! Who asked for which change, from where, and what became of it: a line in the log each,
//! with the target `audit`.

use super::security::Caller;
use crate::http::server::PeerAddr;

/// A change that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    action: &'static str,
    by: &'static str,
    peer: PeerAddr,
}

impl Audit {
    /// `action` was asked for by `caller`.
    #[must_use]
    pub fn new(action: &'static str, caller: &Caller, peer: PeerAddr) -> Self {
        Self {
            action,
            by: caller.kind(),
            peer,
        }
    }

    /// Tells what came of it. `subject` says what it was done to.
    pub fn tell<T, E: std::fmt::Display>(self, outcome: &Result<T, E>, subject: &str) {
        let (outcome, reason) = match outcome {
            Ok(_) => ("done", None),
            Err(error) => ("refused", Some(error.to_string())),
        };
        tracing::info!(
            target: "audit",
            action = self.action,
            by = self.by,
            from = %self.peer.0.ip(),
            subject,
            outcome,
            reason,
            "a change was asked for"
        );
    }
}
