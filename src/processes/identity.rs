//! The identity of a process.

use uuid::Uuid;

use super::{ProcessReport, ProcessState};
use crate::health::Health;
use crate::host::host;
use crate::session::Timestamp;
use crate::telemetry;
use crate::wire::time;

/// The identity of a process.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique among all processes, past ones included.
    pub id: String,
    /// `tracker`, `handler`, `controller`, `console` or `ingest`.
    pub role: &'static str,
    /// The name of its machine or pod.
    pub host: String,
    pub started_at: Timestamp,
    /// The address of its admin port as other machines reach it.
    pub admin: String,
}

impl Identity {
    /// Creates the identity of a process that starts now, with its admin port at `admin`.
    #[must_use]
    pub fn new(role: &'static str, admin: String, now: Timestamp) -> Self {
        let host = host();
        let unique = Uuid::new_v4().simple().to_string();
        Self {
            id: format!("{role}-{host}-{}", &unique[..8]),
            role,
            host,
            started_at: now,
            admin,
        }
    }

    /// Returns a report without assignments, policies and totals.
    #[must_use]
    pub fn report(&self, state: ProcessState, health: &Health, now: Timestamp) -> ProcessReport {
        let not_ready = health.not_ready().into_iter();
        ProcessReport {
            v: 1,
            id: self.id.clone(),
            role: self.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            pid: std::process::id(),
            started_at: time::format(self.started_at),
            reported_at: time::format(now),
            state,
            not_ready: not_ready
                .map(|(name, reason)| (name.into_owned(), reason))
                .collect(),
            assignments: Vec::new(),
            actions: Vec::new(),
            sources: Vec::new(),
            policies: Vec::new(),
            admin: Some(self.admin.clone()),
            totals: None,
            errors: telemetry::recent_errors(),
        }
    }
}
