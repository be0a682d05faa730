//! Process reports of roles that have no loop of their own to write them.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{INTERVAL, PolicyInForce, ProcessReport, ProcessState, Reporter, host};
use crate::admin::Health;
use crate::clock::Clock;
use crate::session::Timestamp;
use crate::telemetry;
use crate::wire::time;

/// How long the last report may hold up the end of the process.
const LAST_REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Who reports.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// `handler`, `controller` or `console`.
    pub role: &'static str,
    /// Where its admin port is.
    pub admin: Option<String>,
    /// How it is doing.
    pub health: Health,
}

/// Writes the reports of one process.
pub struct Reports {
    id: String,
    host: String,
    started_at: Timestamp,
    reporting: Reporting,
    policies: Box<dyn Fn() -> Vec<PolicyInForce> + Send + Sync>,
    reporter: Reporter,
    clock: Clock,
}

impl Reports {
    /// Reports to `topic`, under an id of their own.
    ///
    /// # Errors
    /// If the producer cannot be made.
    pub fn new(
        reporting: Reporting,
        config: ClientConfig,
        topic: &str,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let host = host();
        let unique = Uuid::new_v4().simple().to_string();
        Ok(Self {
            id: format!("{}-{host}-{}", reporting.role, &unique[..8]),
            host,
            started_at: clock.wall(),
            reporting,
            policies: Box::new(Vec::new),
            reporter: Reporter::new(config, topic, clock)?,
            clock,
        })
    }

    /// The same, which also tell the policies that the process goes by.
    #[must_use]
    pub fn with_policies(
        self,
        policies: impl Fn() -> Vec<PolicyInForce> + Send + Sync + 'static,
    ) -> Self {
        Self {
            policies: Box::new(policies),
            ..self
        }
    }

    /// Unique among all processes, past ones included.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reports every few seconds until `stop`, and then a last time.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => self.reporter.write(&self.report(ProcessState::Running)),
                () = stop.cancelled() => break,
            }
            // Samples of the brokers' clock are for trackers, and must not pile up.
            while self.reporter.sample().is_some() {}
        }
        self.reporter.write(&self.report(ProcessState::Stopped));
        // It blocks, if briefly.
        let flush = move || self.reporter.flush(LAST_REPORT_PATIENCE);
        let _process_is_over = tokio::task::spawn_blocking(flush).await;
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        let not_ready = self.reporting.health.not_ready().into_iter();
        ProcessReport {
            v: 1,
            id: self.id.clone(),
            role: self.reporting.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            pid: std::process::id(),
            started_at: time::format(self.started_at),
            reported_at: time::format(self.clock.wall()),
            state,
            not_ready: not_ready
                .map(|(name, reason)| (name.into_owned(), reason))
                .collect(),
            assignments: Vec::new(),
            policies: (self.policies)(),
            admin: self.reporting.admin.clone(),
            totals: None,
            errors: telemetry::recent_errors(),
        }
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
