//! The tracker's [`Io`] on Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::ConsumerGroupMetadata;

use crate::clock::{BrokerSample, Clock, Reading};
use crate::health::Health;
use crate::kafka::Topics;
use crate::kafka::end_offsets::{EndOffsetWatch, EndOffsets};
use crate::kafka::group::GroupConsumer;
use crate::processes;
use crate::processes::{Identity, Reporter};
use crate::session::{PolicySet, TableConfig};
use crate::tracker::assignment::{CommitResult, Io, ManagerEvent, RestoreResult};
use crate::tracker::engine::{Batch, RestoreId};
use crate::tracker::kafka::commit_thread::CommitThread;
use crate::tracker::kafka::restore_pool::RestorePool;
use crate::tracker::metrics::TrackerMetrics;
use crate::tracker::restore::RestoreSettings;
use crate::tracker::routing::{RoutingHold, RoutingMode};
use crate::tracker::state_hold::StateHold;

/// The Kafka clients of a tracker, its clock, health and metrics.
pub(crate) struct KafkaIo {
    pub(crate) parts: Parts,
    pub(crate) settings: IoSettings,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) metrics: TrackerMetrics,
    /// The latest end offset of each partition, for reports.
    pub(crate) last_ends: Vec<(i32, i64)>,
    last_report: Option<Duration>,
    /// The reason of the last [`RoutingHold`].
    routing_hold: Option<&'static str>,
}

/// The clients of a [`KafkaIo`].
pub(crate) struct Parts {
    pub(crate) consumer: Arc<GroupConsumer>,
    pub(crate) commits: CommitThread,
    pub(crate) restores: RestorePool,
    pub(crate) end_offsets: EndOffsetWatch,
    pub(crate) reporter: Reporter,
    /// Receives the policies once they are known and after each change.
    pub(crate) policies: Receiver<Arc<PolicySet>>,
    /// Receives the paused partitions once they are known and after each change.
    pub(crate) pauses: Receiver<BTreeSet<i32>>,
}

/// The settings of a [`KafkaIo`].
#[derive(Debug)]
pub(crate) struct IoSettings {
    pub(crate) topics: Topics,
    pub(crate) mode: RoutingMode,
    pub(crate) table: TableConfig,
    pub(crate) identity: Identity,
}

impl KafkaIo {
    pub(crate) fn new(
        parts: Parts,
        settings: IoSettings,
        clock: Clock,
        health: Health,
        metrics: TrackerMetrics,
    ) -> Self {
        metrics.set_max_sessions(settings.table.max_sessions);
        Self {
            parts,
            settings,
            clock,
            health,
            metrics,
            last_ends: Vec::new(),
            last_report: None,
            routing_hold: None,
        }
    }

    /// Shows the assignment after a rebalance (`assigned`, `revoked`, `lost`).
    pub(crate) fn rebalanced(&mut self, kind: &'static str, assigned: Vec<i32>) {
        self.metrics.rebalanced(kind);
        tracing::info!(partitions = ?assigned, "assigned");
        self.parts.end_offsets.watch(assigned);
        self.health.set_ready("group");
        self.last_report = None;
    }

    /// Returns whether a process report is due, and counts it as written.
    pub(crate) fn take_report_due(&mut self) -> bool {
        let now = self.clock.elapsed();
        let due = self
            .last_report
            .is_none_or(|last| now.saturating_sub(last) >= processes::INTERVAL);
        if due {
            self.last_report = Some(now);
        }
        due
    }

    /// Shows why no session may end, apart from the clocks.
    fn routing_checked(&mut self, hold: Option<&RoutingHold>) {
        self.metrics.routing(hold);
        if hold.map(RoutingHold::reason) != self.routing_hold {
            self.routing_hold = hold.map(RoutingHold::reason);
            match hold {
                None => tracing::info!("the watermarks of all partitions are known"),
                Some(hold) if hold.needs_operator() => {
                    tracing::error!(%hold, "no session ends");
                }
                Some(hold) => tracing::info!(%hold, "no session ends"),
            }
        }
        // A tracker that waits for others is ready: they may wait for it to be.
        match hold.filter(|hold| hold.needs_operator()) {
            None => self.health.set_ready("routing"),
            Some(hold) => self.health.set_not_ready("routing", hold.to_string()),
        }
    }

    /// Ends the commit thread. The consumer leaves the group with its last owner.
    pub(crate) fn stop(self) {
        self.parts.commits.stop();
    }
}

impl Io for KafkaIo {
    type GroupMetadata = ConsumerGroupMetadata;

    fn reading(&self) -> Reading {
        self.clock.reading()
    }

    fn take_policies(&mut self) -> Option<Arc<PolicySet>> {
        self.parts.policies.try_recv().ok()
    }

    fn take_pauses(&mut self) -> Option<BTreeSet<i32>> {
        self.parts.pauses.try_recv().ok()
    }

    fn take_broker_sample(&mut self) -> Option<BrokerSample> {
        self.parts.reporter.take_sample()
    }

    fn take_end_offsets(&mut self) -> Option<EndOffsets> {
        let end_offsets = self.parts.end_offsets.poll()?;
        self.last_ends.clone_from(&end_offsets.ends);
        self.metrics.upstream(&end_offsets.upstream);
        if let Some(count) = end_offsets.partition_count {
            self.metrics.set_topic_partitions(count);
        }
        Some(end_offsets)
    }

    fn assign_paused(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let assigned = self.parts.consumer.assign_paused(partitions);
        assigned.context("librdkafka refuses the assignment")
    }

    fn unassign(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let unassigned = self.parts.consumer.unassign(partitions);
        unassigned.context("librdkafka refuses to give partitions back")
    }

    fn pause(&mut self, partitions: &[i32]) {
        if let Err(error) = self.parts.consumer.pause(partitions) {
            // The engine ignores records of partitions that are paused or being restored.
            tracing::debug!(%error, "cannot pause");
        }
    }

    fn seek(&mut self, partition: i32, offset: i64) -> anyhow::Result<()> {
        Ok(self.parts.consumer.seek(partition, offset)?)
    }

    fn positions(&self) -> Vec<(i32, i64)> {
        self.parts.consumer.positions()
    }

    fn start_restore(&mut self, restore_id: RestoreId, settings: RestoreSettings) {
        self.parts.restores.submit(restore_id, settings);
    }

    fn take_restore_result(&mut self) -> Option<RestoreResult> {
        self.parts.restores.take_result()
    }

    fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.parts.consumer.group_metadata()
    }

    fn is_committing(&self) -> bool {
        self.parts.commits.is_busy()
    }

    fn start_commit(&mut self, batch: Batch, group: ConsumerGroupMetadata) {
        self.parts.commits.submit(batch, group);
    }

    fn take_commit_result(&mut self, timeout: Duration) -> Option<CommitResult> {
        self.parts.commits.take_result(timeout)
    }

    fn handle(&mut self, event: ManagerEvent<'_>) {
        match event {
            ManagerEvent::PoliciesChanged => {
                self.health.set_ready("policies");
                // Reported at once: the author of a policy waits for its rollout.
                self.last_report = None;
            }
            ManagerEvent::PausesChanged => {
                self.health.set_ready("pauses");
                self.last_report = None;
            }
            ManagerEvent::ClockUnchecked => {
                let topic = &self.settings.topics.processes;
                tracing::warn!(
                    topic,
                    "the topic has CreateTime: this machine's clock cannot be checked against the brokers'"
                );
            }
            ManagerEvent::ClocksCompared(hold) => {
                match &hold {
                    None => self.health.set_ready("clock"),
                    Some(hold) => self.health.set_not_ready("clock", hold.to_string()),
                }
                self.metrics.clocks(hold.as_ref());
            }
            ManagerEvent::RoutingChecked(hold) => self.routing_checked(hold),
            ManagerEvent::Committed(counts, took) => {
                let lateness = self.settings.table.allowed_lateness;
                let now = self.clock.wall();
                self.metrics.committed(counts, now, lateness, took);
            }
            ManagerEvent::Aborted(took) => self.metrics.aborted(took),
            ManagerEvent::Restored(restored) => self.metrics.restored(
                restored.records,
                restored.replayed,
                restored.degraded.is_some(),
            ),
            ManagerEvent::Held(held) => {
                if held.is_empty() {
                    self.health.set_ready("state");
                } else {
                    self.health.set_not_ready("state", held_reason(held));
                }
                self.metrics.held(held.values());
            }
            ManagerEvent::Restoring(0) => self.health.set_ready("restore"),
            ManagerEvent::Restoring(count) => self
                .health
                .set_not_ready("restore", format!("{count} partitions are being restored")),
        }
    }
}

/// The reasons of held partitions, each followed by its partitions.
fn held_reason(held: &BTreeMap<i32, StateHold>) -> String {
    let mut partitions = BTreeMap::<String, Vec<String>>::new();
    for (partition, hold) in held {
        let numbers = partitions.entry(hold.to_string()).or_default();
        numbers.push(partition.to_string());
    }
    let reasons = partitions.into_iter();
    let reasons: Vec<_> = reasons
        .map(|(reason, numbers)| format!("partitions {}: {reason}", numbers.join(", ")))
        .collect();
    format!(
        "held: {}; `sundown state describe` shows both sides, `sundown state reset` resolves it",
        reasons.join("; ")
    )
}
