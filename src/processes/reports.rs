//! Process reports of roles that have no loop of their own to write them.

use std::fmt;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::{
    ActivePolicy, Assignment, INTERVAL, Identity, LAST_REPORT_PATIENCE, ProcessReport,
    ProcessState, Reporter,
};
use crate::clock::Clock;
use crate::health::Health;

/// Writes the reports of one process.
pub struct Reports {
    identity: Identity,
    health: Health,
    policies: Box<dyn Fn() -> Vec<ActivePolicy> + Send + Sync>,
    assignments: Box<dyn Fn() -> Vec<Assignment> + Send + Sync>,
    reporter: Reporter,
    clock: Clock,
}

impl Reports {
    /// Reports to `topic` on who the process is and how it is doing.
    ///
    /// # Errors
    /// If the producer cannot be made.
    pub fn new(
        identity: Identity,
        health: Health,
        config: ClientConfig,
        topic: &str,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            identity,
            health,
            policies: Box::new(Vec::new),
            assignments: Box::new(Vec::new),
            reporter: Reporter::new(config, topic, clock)?,
            clock,
        })
    }

    /// The same, which also tell the policies that the process goes by.
    #[must_use]
    pub fn with_policies(
        self,
        policies: impl Fn() -> Vec<ActivePolicy> + Send + Sync + 'static,
    ) -> Self {
        Self {
            policies: Box::new(policies),
            ..self
        }
    }

    /// The same, which also tell the partitions that the process has.
    #[must_use]
    pub fn with_assignments(
        self,
        assignments: impl Fn() -> Vec<Assignment> + Send + Sync + 'static,
    ) -> Self {
        Self {
            assignments: Box::new(assignments),
            ..self
        }
    }

    /// Unique among all processes, past ones included.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// Reports every few seconds until `stop`, and then a last time.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => self.write(ProcessState::Running),
                () = stop.cancelled() => break,
            }
            // Samples of the brokers' clock are for trackers, and must not pile up.
            while self.reporter.sample().is_some() {}
        }
        self.write(ProcessState::Stopped);
        // It blocks, if briefly.
        let flush = move || self.reporter.flush(LAST_REPORT_PATIENCE);
        let _process_is_over = tokio::task::spawn_blocking(flush).await;
    }

    fn write(&mut self, state: ProcessState) {
        let report = self.report(state);
        self.reporter.write(&report);
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        ProcessReport {
            policies: (self.policies)(),
            assignments: (self.assignments)(),
            ..self.identity.report(state, &self.health, self.clock.wall())
        }
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports")
            .field("id", &self.identity.id)
            .finish_non_exhaustive()
    }
}
