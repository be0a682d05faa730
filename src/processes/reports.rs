//! Process reports of roles without a loop of their own.

use std::fmt;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::{
    ActionProgress, ActivePolicy, Assignment, INTERVAL, Identity, LAST_REPORT_TIMEOUT,
    ProcessReport, ProcessState, Reporter,
};
use crate::clock::Clock;
use crate::health::Health;

/// Writes the reports of one process.
pub struct Reports {
    identity: Identity,
    health: Health,
    policies: Box<dyn Fn() -> Vec<ActivePolicy> + Send + Sync>,
    assignments: Box<dyn Fn() -> Vec<Assignment> + Send + Sync>,
    actions: Box<dyn Fn() -> Vec<ActionProgress> + Send + Sync>,
    reporter: Reporter,
    clock: Clock,
}

impl Reports {
    /// Creates reports to `topic` on the identity and health of the process.
    ///
    /// # Errors
    /// If the producer cannot be created.
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
            actions: Box::new(Vec::new),
            reporter: Reporter::new(config, topic, clock)?,
            clock,
        })
    }

    /// Adds the active policies of the process.
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

    /// Adds the partitions of the process.
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

    /// Adds the progress of the process's actions.
    #[must_use]
    pub fn with_actions(
        self,
        actions: impl Fn() -> Vec<ActionProgress> + Send + Sync + 'static,
    ) -> Self {
        Self {
            actions: Box::new(actions),
            ..self
        }
    }

    /// Returns the process id, unique among all processes, past ones included.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// Reports every few seconds until `stop`, then a last time.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => self.write(ProcessState::Running),
                () = stop.cancelled() => break,
            }
            // Only trackers use samples of the brokers' clock; the queue must not grow.
            while self.reporter.take_sample().is_some() {}
        }
        self.write(ProcessState::Stopped);
        // Flushing blocks.
        let flush = move || self.reporter.flush(LAST_REPORT_TIMEOUT);
        let _runtime_is_stopping = tokio::task::spawn_blocking(flush).await;
    }

    fn write(&mut self, state: ProcessState) {
        let report = self.report(state);
        self.reporter.write(&report);
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        ProcessReport {
            policies: (self.policies)(),
            assignments: (self.assignments)(),
            actions: (self.actions)(),
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
