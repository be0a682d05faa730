//! How far a source has been rolled out, and what became of its records, by the reports of ingest
//! processes.

use std::time::Duration;

use crate::controller::rollout::{ProcessRegistry, Rollout};
use crate::processes::{ProcessReport, SourceProgress};
use crate::source::spec::RecordCounts;

/// What became of the records of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IngestProgress {
    /// The counts of the live processes.
    pub(super) records: RecordCounts,
    /// Records not read yet; `None` while no live process knows it.
    pub(super) lag: Option<u64>,
    /// A process that cannot read one of the topics, and the reason.
    pub(super) problem: Option<String>,
}

impl ProcessRegistry {
    /// Returns how far this generation of the source `name`, which reads `topics`, has been rolled
    /// out, and what became of the records, at `now` on the clock.
    pub(super) fn source_rollout(
        &self,
        (name, generation): (&str, u64),
        topics: &[String],
        now: Duration,
    ) -> (Rollout, IngestProgress) {
        let mut rollout = Rollout::default();
        let mut progress = IngestProgress::default();
        for process in self.live("ingest", now) {
            rollout.processes += 1;
            let reported = process.sources.iter();
            let reported: Vec<_> = reported.filter(|one| one.source == name).collect();
            let runs = !reported.is_empty()
                && reported
                    .iter()
                    .all(|one| one.generation == Some(generation));
            if runs {
                rollout.applied += 1;
            } else if rollout.waiting_for.is_none() {
                rollout.waiting_for = Some(waiting(process, topics));
            }
            if progress.problem.is_none() && !reported.is_empty() {
                let found = reported.iter().map(|one| one.topic.clone());
                let topics: Vec<_> = topics.iter().cloned().chain(found).collect();
                let reason = problem(process, &topics);
                progress.problem = reason.map(|reason| format!("{}: {reason}", process.id));
            }
            for one in reported {
                progress.add(process, one);
            }
        }
        (rollout, progress)
    }
}

impl IngestProgress {
    fn add(&mut self, process: &ProcessReport, reported: &SourceProgress) {
        let records = &mut self.records;
        records.mapped += reported.events;
        records.skipped += reported.skipped;
        records.refused += reported.dead_letters;
        records.read += reported.events + reported.skipped + reported.dead_letters;
        let assigned = process.assignments.iter();
        let lags = assigned
            .filter(|one| one.topic == reported.topic)
            .filter_map(|one| u64::try_from(one.end? - one.position?).ok());
        for lag in lags {
            self.lag = Some(self.lag.unwrap_or_default() + lag);
        }
    }
}

/// Names a process without the generation, with the reason in its report, if there is one.
fn waiting(process: &ProcessReport, topics: &[String]) -> String {
    let sources = process.not_ready.get("sources");
    match sources.map(String::as_str).or(problem(process, topics)) {
        Some(reason) => format!("{} ({reason})", process.id),
        None => process.id.clone(),
    }
}

/// Why the process does not read one of the topics, by its report.
fn problem<'a>(process: &'a ProcessReport, topics: &[String]) -> Option<&'a str> {
    let mut reasons = process.not_ready.iter().filter(|(condition, _)| {
        let topic = condition.strip_prefix("ingest of ");
        topic.is_some_and(|topic| topics.iter().any(|one| one == topic))
    });
    reasons.next().map(|(_, reason)| reason.as_str())
}
