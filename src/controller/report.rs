//! The controller's own process reports. The console shows them, and the controller learns
//! from them what the brokers' clock shows.

use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admin::Health;
use crate::clock::Clock;
use crate::process_report::{self, ProcessReport, ProcessState, Reporter};
use crate::session::Timestamp;
use crate::wire::time;

/// How long the last report may hold up the end of the process.
const LAST_REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Writes the controller's process reports.
#[derive(Debug)]
pub struct Reports {
    id: String,
    host: String,
    started_at: Timestamp,
    reporter: Reporter,
    clock: Clock,
    health: Health,
}

impl Reports {
    /// Reports to `topic`, under an id of their own.
    ///
    /// # Errors
    /// If the producer cannot be made.
    pub fn new(
        config: ClientConfig,
        topic: &str,
        clock: Clock,
        health: Health,
    ) -> anyhow::Result<Self> {
        let host = process_report::host();
        let unique = Uuid::new_v4().simple().to_string();
        Ok(Self {
            id: format!("controller-{host}-{}", &unique[..8]),
            host,
            started_at: clock.wall(),
            reporter: Reporter::new(config, topic, clock)?,
            clock,
            health,
        })
    }

    /// Unique among all processes, past ones included.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reports every few seconds until `stop`, and then a last time.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(process_report::INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => self.reporter.write(&self.report(ProcessState::Running)),
                () = stop.cancelled() => break,
            }
            // Nobody asks for them, and they must not pile up.
            while self.reporter.sample().is_some() {}
        }
        self.reporter.write(&self.report(ProcessState::Stopped));
        // It blocks, if briefly.
        let flush = move || self.reporter.flush(LAST_REPORT_PATIENCE);
        let _process_is_over = tokio::task::spawn_blocking(flush).await;
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        let not_ready = self.health.not_ready().into_iter();
        ProcessReport {
            v: 1,
            id: self.id.clone(),
            role: "controller".to_owned(),
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
            policies: Vec::new(),
        }
    }
}
