//! The thread that reads events, dispatches them and commits the finished ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::CommitMode;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::action_runner::ActionRunner;
use super::assignments::Assignments;
use super::in_flight::{Completion, InFlight, record_bytes};
use super::partitions::Partitions;
use super::role::ConsumerRole;
use super::topic_ends::TopicEnds;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::health::{Health, Heartbeat};
use crate::kafka::group::{Member, Rebalance};
use crate::processes::ActionProgress;

/// The longest wait for a record, and so for noticing a stop.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How long the limits may be reached before partitions are paused. A pause discards prefetched
/// records.
const PAUSE_DELAY: Duration = Duration::from_millis(500);
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
/// How often offsets are committed although they have not advanced: a commit that librdkafka sends again
/// after a rebalance may arrive after a later one.
const RECOMMIT_INTERVAL: Duration = Duration::from_secs(15);
/// The time that attempts under way have to finish when their partition is revoked.
const REVOKE_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that attempts under way have to finish when the process stops.
const STOP_DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Above [`REVOKE_DRAIN_TIMEOUT`] plus the session timeout, which bounds a commit.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(45);

/// Reads the events of one topic as a member of a consumer group. `D` dispatches them to the
/// tasks that run their actions.
pub struct EventConsumer<D> {
    /// Subscribed to the topic.
    pub member: Member,
    pub role: ConsumerRole,
    pub group: String,
    pub topic: String,
    /// The runner of the role's action.
    pub runner: Option<Arc<ActionRunner>>,
    pub partitions: Partitions,
    /// The partitions that an operator has paused; `None` where pauses do not apply.
    pub operator_paused: Option<watch::Receiver<BTreeSet<i32>>>,
    pub ends: TopicEnds,
    /// The latest end offsets.
    pub last_ends: BTreeMap<i32, i64>,
    /// Receives the progress, for process reports.
    pub assignments: Assignments,
    pub dispatch: D,
    /// One for each dispatched event.
    pub completions: Receiver<Completion>,
    pub stop: CancellationToken,
    pub health: Health,
    pub metrics: HandlerMetrics,
    pub clock: Clock,
}

impl<D: Fn(InFlight)> EventConsumer<D> {
    /// Reads until the stop signal, then drains what is in flight, commits, and leaves the
    /// group.
    ///
    /// # Errors
    /// If the consumer fails for good, does not rejoin its group, or a partition stalls.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.health
            .set_not_ready(self.role.condition(), "waiting for an assignment");
        let heartbeat = self
            .health
            .heartbeat(format!("consumer in {}", self.group), HEARTBEAT_TIMEOUT);
        let result = self.poll_until_stopped(&heartbeat);
        self.health
            .set_not_ready(self.role.condition(), "leaving the group");
        let owned = self.partitions.owned();
        self.drain(&owned, STOP_DRAIN_TIMEOUT);
        result
    }

    fn poll_until_stopped(&mut self, heartbeat: &Heartbeat) -> anyhow::Result<()> {
        let mut committed_at = self.clock.elapsed();
        let mut recommitted_at = committed_at;
        while !self.stop.is_cancelled() {
            heartbeat.beat();
            self.wait_for_capacity();
            self.apply_pauses()?;
            let now = self.clock.elapsed();
            if now.saturating_sub(committed_at) >= COMMIT_INTERVAL {
                committed_at = now;
                if now.saturating_sub(recommitted_at) >= RECOMMIT_INTERVAL {
                    recommitted_at = now;
                    self.partitions.forget_commits();
                }
                self.commit(&self.partitions.owned(), CommitMode::Async);
                self.report_progress();
            }
            let consumer = self.member.consumer();
            let polled = consumer.poll(POLL_TIMEOUT);
            match polled.map(|record| record.map(|record| record.detach())) {
                Some(Ok(record)) => self.deliver(record),
                Some(Err(error)) => consumer.check(error)?,
                None => {}
            }
            while let Some(rebalance) = self.member.next_rebalance() {
                self.handle_rebalance(rebalance)?;
            }
            self.check_member()?;
        }
        Ok(())
    }

    /// Dispatches a record. A record of a partition that has been revoked in the meantime is
    /// dropped: its offset is not committed.
    fn deliver(&mut self, record: OwnedMessage) {
        let (partition, offset) = (record.partition(), record.offset());
        let bytes = record_bytes(&record);
        if let Some(lease) = self.partitions.start(partition, offset, bytes) {
            self.show_in_flight();
            (self.dispatch)(InFlight::new(self.role.trigger(), record, lease));
        }
    }

    /// Collects completions. If the limits are reached, waits up to [`PAUSE_DELAY`] for more.
    fn wait_for_capacity(&mut self) {
        let deadline = self.clock.elapsed() + PAUSE_DELAY;
        while let Ok(completion) = self.completions.try_recv() {
            self.partitions.complete(&completion);
        }
        while self.partitions.is_full() && self.wait_for_completion(deadline) {}
        self.show_in_flight();
    }

    fn show_in_flight(&self) {
        let (action, trigger) = (self.role.label(), self.role.trigger());
        self.metrics
            .set_in_flight(action, trigger, self.partitions.in_flight());
    }

    /// Pauses and resumes partitions, so that polling can continue under backpressure: the group
    /// evicts a member that does not poll.
    fn apply_pauses(&mut self) -> Result<(), KafkaError> {
        if let Some(paused) = &self.operator_paused {
            self.partitions.set_operator_paused(&paused.borrow());
        }
        let changes = self.partitions.update_pauses();
        let backpressured = self.partitions.backpressured();
        let (action, trigger) = (self.role.label(), self.role.trigger());
        self.metrics
            .set_backpressured(action, trigger, backpressured);
        if !changes.pause.is_empty() {
            if backpressured > 0 {
                tracing::debug!(partitions = ?changes.pause, "paused: too many events in flight");
            }
            self.member.consumer().pause(&changes.pause)?;
        }
        if !changes.resume.is_empty() {
            tracing::debug!(partitions = ?changes.resume, "resumed");
            self.member.consumer().resume(&changes.resume)?;
        }
        Ok(())
    }

    /// Publishes the consumer's progress to reports, metrics and health.
    fn report_progress(&mut self) {
        self.last_ends = self.ends.latest(&self.group, self.partitions.owned());
        let positions = self.positions();
        let backlog = self.partitions.backlog(&positions, &self.last_ends);
        let paused = self.partitions.operator_paused();
        let (action, trigger) = (self.role.label(), self.role.trigger());
        self.metrics.set_backlog(action, trigger, backlog);
        if self.operator_paused.is_some() {
            self.metrics
                .set_operator_paused(action, trigger, paused.len());
        }
        match &self.runner {
            None => {
                self.assignments
                    .update(&self.topic, &self.partitions, &positions, &self.last_ends);
                self.health.note_paused(&paused);
            }
            Some(runner) => self.assignments.update_action(ActionProgress {
                action: action.to_owned(),
                trigger: trigger.as_str().to_owned(),
                group: self.group.clone(),
                partitions: self.partitions.owned().len(),
                backlog,
                problem: runner.circuit.problem(),
            }),
        }
    }

    /// Checks that the consumer is in its group and that no partition stalls.
    fn check_member(&mut self) -> anyhow::Result<()> {
        let (partitions, ends) = (&self.partitions, &self.last_ends);
        self.member.check(|consumer| {
            let active = partitions.unpaused();
            let mut unread = consumer.positions();
            unread.retain(|(partition, position)| {
                let end = ends.get(partition);
                active.contains(partition) && end.is_some_and(|end| position < end)
            });
            unread
        })
    }

    /// Waits for one completion. Returns false if none arrives before the deadline.
    fn wait_for_completion(&mut self, deadline: Duration) -> bool {
        let timeout = deadline.saturating_sub(self.clock.elapsed());
        let Ok(completion) = self.completions.recv_timeout(timeout) else {
            return false;
        };
        self.partitions.complete(&completion);
        true
    }

    fn handle_rebalance(&mut self, rebalance: Rebalance) -> Result<(), KafkaError> {
        let (kind, group) = (rebalance.kind(), self.group.as_str());
        match rebalance {
            Rebalance::Assigned(ids) => {
                tracing::info!(group, partitions = ?ids, "assigned");
                ids.iter().for_each(|&id| self.partitions.assign(id));
                self.member.consumer().assign(&ids)?;
                self.fetch_starts(&ids);
                self.health.set_ready(&self.role.condition());
            }
            Rebalance::Revoked(ids) => {
                tracing::info!(group, partitions = ?ids, "revoked");
                self.drain(&ids, REVOKE_DRAIN_TIMEOUT);
                self.release(&ids)?;
            }
            Rebalance::Lost(ids) => {
                tracing::warn!(group, partitions = ?ids, "lost");
                self.health
                    .set_not_ready(self.role.condition(), "evicted from the group; rejoining");
                self.release(&ids)?;
            }
        }
        let partitions = self.partitions.owned().len();
        let (action, trigger) = (self.role.label(), self.role.trigger());
        self.metrics
            .count_rebalance(action, trigger, kind, partitions);
        Ok(())
    }

    /// Fetches where reading of partitions starts: while an action makes no progress, nothing
    /// else shows how far behind it is.
    fn fetch_starts(&mut self, ids: &[i32]) {
        if ids.is_empty() {
            return;
        }
        match self.member.consumer().committed(ids) {
            Ok(starts) => starts
                .into_iter()
                .for_each(|(id, offset)| self.partitions.set_start(id, offset)),
            Err(error) => tracing::debug!(%error, "committed offsets are unknown"),
        }
    }

    fn release(&mut self, ids: &[i32]) -> Result<(), KafkaError> {
        ids.iter().for_each(|&id| self.partitions.remove(id));
        self.member.consumer().unassign(ids)
    }

    /// Drains partitions: starts no further events, waits up to `timeout` for attempts under
    /// way, and commits the finished events.
    fn drain(&mut self, partitions: &[i32], timeout: Duration) {
        partitions
            .iter()
            .for_each(|&id| self.partitions.release(id));
        let deadline = self.clock.elapsed() + timeout;
        while self.partitions.any_in_flight(partitions) {
            if !self.wait_for_completion(deadline) {
                tracing::warn!("attempts under way did not finish in time; they will be repeated");
                break;
            }
        }
        // Asynchronous commits may still be under way, and may fail.
        self.partitions.forget_commits();
        self.commit(partitions, CommitMode::Sync);
    }

    fn commit(&mut self, partitions: &[i32], mode: CommitMode) {
        if self.member.consumer().take_commit_failed() {
            self.partitions.forget_commits();
        }
        let positions = self.positions();
        let offsets = self.partitions.offsets_to_commit(partitions, &positions);
        if offsets.is_empty() {
            return;
        }
        if let Err(error) = self.member.consumer().commit_offsets(&offsets, mode) {
            tracing::warn!(%error, "commit failed; some events may be redelivered");
            self.partitions.forget_commits();
        }
    }

    fn positions(&self) -> BTreeMap<i32, i64> {
        self.member.consumer().positions().into_iter().collect()
    }
}
