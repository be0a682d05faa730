//! What the loop tells the outside: metrics and process reports.

use super::{Worker, known};
use crate::processes::{
    Assignment, LAST_REPORT_PATIENCE, PolicyInForce, ProcessReport, ProcessState,
};
use crate::tracker::assignment::{News, Surroundings};
use crate::tracker::metrics::{LivePartition, PartitionState};
use crate::wire::time;

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
        let surroundings = self.custody.surroundings();
        let metrics = &surroundings.metrics;
        for tally in &tallies {
            metrics.tally(tally);
        }
        let engine = self.custody.engine();
        metrics.assignment(engine.assigned().map(|(number, partition)| PartitionState {
            number,
            live: partition.map(|partition| LivePartition {
                sessions: partition.sessions(),
                unread: partition.backlog(),
                watermark: partition.watermark(),
                paused: engine.is_paused(number),
            }),
        }));
        metrics.clock_skew(engine.clocks().skew(surroundings.reading()));
        metrics.policies(&self.policies());
        let paused = engine.assigned().map(|(number, _)| number);
        let paused: Vec<_> = paused.filter(|number| engine.is_paused(*number)).collect();
        surroundings.health.note_paused(&paused);
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        let surroundings = self.custody.surroundings();
        let identity = &surroundings.settings.identity;
        ProcessReport {
            assignments: self.assignments(),
            policies: self.policies(),
            totals: Some(surroundings.metrics.totals()),
            ..identity.report(state, &surroundings.health, surroundings.clock.wall())
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
                paused: self.custody.engine().is_paused(number),
            })
            .collect()
    }
}
