//! Metrics and process reports of the loop.

use super::{TrackerWorker, known};
use crate::processes::{
    ActivePolicy, Assignment, LAST_REPORT_TIMEOUT, ProcessReport, ProcessState,
};
use crate::tracker::assignment::{Io, ManagerEvent};
use crate::tracker::metrics::{AssignedPartition, LivePartition};
use crate::wire::time;

impl TrackerWorker {
    /// Reports every few seconds, and at once after a rebalance or a change of policies or
    /// pauses.
    pub(super) fn report_if_due(&mut self) {
        if self.partition_manager.io_mut().take_report_due() {
            // Without end offsets, which brokers that do not answer never send, no other code
            // compares the clocks.
            let hold = self.partition_manager.clock_hold();
            let io = self.partition_manager.io_mut();
            io.handle(ManagerEvent::ClocksCompared(hold));
            let report = self.report(ProcessState::Running);
            let io = self.partition_manager.io_mut();
            io.parts.reporter.write(&report);
            self.update_metrics();
        }
    }

    pub(super) fn write_last_report(&mut self) {
        self.update_metrics();
        let report = self.report(ProcessState::Stopped);
        let reporter = &mut self.partition_manager.io_mut().parts.reporter;
        reporter.write(&report);
        reporter.flush(LAST_REPORT_TIMEOUT);
    }

    fn update_metrics(&mut self) {
        let counters: Vec<_> = self
            .partition_manager
            .engine_mut()
            .take_counters()
            .collect();
        let io = self.partition_manager.io();
        let metrics = &io.metrics;
        for counters in &counters {
            metrics.add_counters(counters);
            self.misrouting_log.add(counters);
        }
        let session_logs = &io.settings.topics.session_logs;
        let now = io.clock.elapsed();
        self.misrouting_log
            .write(session_logs, io.settings.mode, now);
        let engine = self.partition_manager.engine();
        metrics.assignment(
            engine
                .assigned()
                .map(|(number, partition)| AssignedPartition {
                    number,
                    live: partition.map(|partition| LivePartition {
                        sessions: partition.sessions(),
                        unread: partition.backlog(),
                        watermark: partition.watermark(),
                        paused: engine.is_paused(number),
                    }),
                }),
        );
        metrics.clock_skew(engine.clocks().skew(io.reading()));
        metrics.policies(&self.policies());
        let paused = engine.assigned().map(|(number, _)| number);
        let paused: Vec<_> = paused.filter(|number| engine.is_paused(*number)).collect();
        io.health.note_paused(&paused);
    }

    fn report(&self, state: ProcessState) -> ProcessReport {
        let io = self.partition_manager.io();
        let identity = &io.settings.identity;
        ProcessReport {
            assignments: self.assignments(),
            policies: self.policies(),
            totals: Some(io.metrics.totals()),
            ..identity.report(state, &io.health, io.clock.wall())
        }
    }

    fn policies(&self) -> Vec<ActivePolicy> {
        let counts = self
            .partition_manager
            .engine()
            .sessions_by_policy()
            .into_iter();
        counts
            .map(|(policy, sessions)| ActivePolicy {
                name: policy.name.clone(),
                generation: policy.generation,
                sessions: Some(sessions),
            })
            .collect()
    }

    fn assignments(&self) -> Vec<Assignment> {
        let io = self.partition_manager.io();
        let end_of = |number| {
            io.last_ends
                .iter()
                .find(|end| end.0 == number)
                .map(|end| end.1)
        };
        let assigned = self.partition_manager.engine().assigned();
        assigned
            .map(|(number, partition)| Assignment {
                topic: io.settings.topics.session_logs.clone(),
                partition: number,
                restoring: partition.is_none(),
                position: partition.map(|partition| partition.position()),
                end: end_of(number),
                watermark: partition
                    .and_then(|partition| known(partition.watermark()))
                    .map(time::format),
                sessions: partition.map_or(0, |partition| partition.sessions()),
                paused: self.partition_manager.engine().is_paused(number),
            })
            .collect()
    }
}
