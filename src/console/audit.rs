//! Audit records: a log line with the target `audit` for every requested change, with the
//! caller, its address and the outcome.

use super::security::Caller;
use crate::http::server::PeerAddr;

/// The audit record of a requested change.
#[derive(Clone, Copy, Debug)]
pub struct AuditRecord {
    action: &'static str,
    by: &'static str,
    peer: PeerAddr,
}

impl AuditRecord {
    #[must_use]
    pub fn new(action: &'static str, caller: &Caller, peer: PeerAddr) -> Self {
        Self {
            action,
            by: caller.kind(),
            peer,
        }
    }

    /// Logs the outcome of the change to `subject`.
    pub fn log<T, E: std::fmt::Display>(self, outcome: &Result<T, E>, subject: &str) {
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
            "change requested"
        );
    }
}
