//! What the loop tells the outside: metrics and process reports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Worker, known};
use crate::process_report::{Assignment, PolicyInForce, ProcessReport, ProcessState};
use crate::session::Timestamp;
use crate::telemetry;
use crate::tracker::custody::{News, Surroundings};
use crate::wire::time;

/// How long the last report may hold up the end of the process.
const LAST_REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Who a process is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique among all processes, past ones included.
    pub id: String,
    /// The machine's or the pod's name.
    pub host: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// Where its admin port is, as others reach it.
    pub admin: Option<String>,
}

impl Worker {
    /// Reports every few seconds, and at once after a rebalance.
    pub(super) fn report_if_due(&mut self) {
        if self.custody.surroundings_mut().report_is_due() {
            // While no broker answers, nothing else would.
            let trouble = self.custody.clock_trouble();
            let surroundings = self.custody.surroundings_mut();
            surroundings.tell(News::Clocks(trouble));
            let report = self.report(ProcessState::Running);
            let surroundings = self.custody.surroundings_mut();
            surroundings.parts.reporter.write(&report);
            self.update_metrics();
        }
    }

    pub(super) fn write_last_report(&mut self) {
        self.update_metrics();
        let report = self.report(ProcessState::Stopped);
        let reporter = &mut self.custody.surroundings_mut().parts.reporter;
        reporter.write(&report);
        reporter.flush(LAST_REPORT_PATIENCE);
    }

    fn update_metrics(&mut self) {
        let tallies: Vec<_> = self.custody.engine_mut().take_tallies().collect();
        let metrics = &self.custody.surroundings().metrics;
        for tally in &tallies {
            metrics.tally(tally);
        }
        let assigned = self.custody.engine().assigned();
        metrics.assignment(assigned.map(|(number, partition)| {
            let state = partition.map(|partition| (partition.sessions(), partition.watermark()));
            (number, state)
        }));
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        let surroundings = self.custody.surroundings();
        let identity = &surroundings.settings.identity;
        let not_ready = surroundings.health.not_ready().into_iter();
        ProcessReport {
            v: 1,
            id: identity.id.clone(),
            role: "tracker".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: identity.host.clone(),
            pid: std::process::id(),
            started_at: time::format(identity.started_at),
            reported_at: time::format(surroundings.clock.wall()),
            state,
            not_ready: not_ready
                .map(|(name, reason)| (name.into_owned(), reason))
                .collect::<BTreeMap<_, _>>(),
            assignments: self.assignments(),
            policies: self.policies(),
            admin: identity.admin.clone(),
            totals: Some(surroundings.metrics.totals()),
            errors: telemetry::recent_errors(),
        }
    }

    fn policies(&self) -> Vec<PolicyInForce> {
        let counts = self.custody.engine().sessions_by_policy().into_iter();
        counts
            .map(|(policy, sessions)| PolicyInForce {
                name: policy.name.clone(),
                generation: policy.generation,
                sessions: Some(sessions),
            })
            .collect()
    }

    fn assignments(&self) -> Vec<Assignment> {
        let surroundings = self.custody.surroundings();
        let end_of = |number| {
            surroundings
                .last_ends
                .iter()
                .find(|end| end.0 == number)
                .map(|end| end.1)
        };
        let assigned = self.custody.engine().assigned();
        assigned
            .map(|(number, partition)| Assignment {
                topic: surroundings.settings.topics.session_logs.clone(),
                partition: number,
                restoring: partition.is_none(),
                position: partition.map(|partition| partition.position()),
                end: end_of(number),
                watermark: partition
                    .and_then(|partition| known(partition.watermark()))
                    .map(time::format),
                sessions: partition.map_or(0, |partition| partition.sessions()),
            })
            .collect()
    }
}
