//! The thread that reads events, hands them out, and commits what is finished.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::CommitMode;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::assignments::Assignments;
use super::event::Trigger;
use super::partitions::Partitions;
use super::work::{Completion, Work};
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::health::{Health, Heartbeat};
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::{Member, Rebalance};

/// How long to wait for a record: also how soon a stop is noticed.
const POLL: Duration = Duration::from_millis(100);
/// How long a full house is waited out before partitions are paused, which throws away
/// what has been prefetched.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
/// For what is under way to finish when its partition is wanted elsewhere.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);
/// The same when the process stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// The loop comes round within [`REVOKE_LIMIT`] and a commit's session timeout.
const MAX_SILENCE: Duration = Duration::from_secs(45);
/// What an event takes beside its value: key, headers, the decoded form.
const OVERHEAD_BYTES: usize = 1024;
/// The thread's state.
pub struct Reader<D> {
    /// Subscribed to the topic.
    pub member: Member,
    /// What is read.
    pub topic: String,
    /// What its events are about.
    pub trigger: Trigger,
    /// What is owned.
    pub partitions: Partitions,
    /// Those that somebody has paused; none where they cannot be.
    pub paused: Option<watch::Receiver<BTreeSet<i32>>>,
    /// Knows where they end.
    pub ends: EndOffsetWatch,
    /// The latest of that.
    pub last_ends: BTreeMap<i32, i64>,
    /// Whom to tell how far they have come.
    pub assignments: Assignments,
    /// Where work goes.
    pub dispatch: D,
    /// Where it comes back from.
    pub completions: Receiver<Completion>,
    /// Whether to go on.
    pub stop: CancellationToken,
    /// Whom to tell of the group.
    pub health: Health,
    /// What is counted.
    pub metrics: HandlerMetrics,
    /// Measures intervals.
    pub clock: Clock,
}

impl<D: Fn(Work)> Reader<D> {
    /// Reads until it is told to stop, then waits a little for what is under way, commits,
    /// and leaves the group.
    ///
    /// # Errors
    /// If the consumer fails for good, does not rejoin its group, or a partition stalls.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.health
            .set_not_ready(condition(self.trigger), "waiting to be given partitions");
        let pulse = self
            .health
            .heartbeat(format!("consumer of {}", self.topic), MAX_SILENCE);
        let outcome = self.read(&pulse);
        self.health
            .set_not_ready(condition(self.trigger), "leaving");
        let owned = self.partitions.owned();
        self.settle(&owned, STOP_LIMIT);
        outcome
    }

    fn read(&mut self, pulse: &Heartbeat) -> anyhow::Result<()> {
        let mut committed_at = self.clock.elapsed();
        while !self.stop.is_cancelled() {
            pulse.beat();
            self.make_room()?;
            let now = self.clock.elapsed();
            if now.saturating_sub(committed_at) >= COMMIT_INTERVAL {
                committed_at = now;
                self.commit(&self.partitions.owned(), CommitMode::Async);
                self.tell();
            }
            let consumer = self.member.consumer();
            let polled = consumer.poll(POLL);
            match polled.map(|record| record.map(|record| record.detach())) {
                Some(Ok(record)) => self.deliver(record),
                Some(Err(error)) => consumer.check(error)?,
                None => {}
            }
            while let Some(rebalance) = self.member.next_rebalance() {
                self.follow(rebalance)?;
            }
            self.check_member()?;
        }
        Ok(())
    }

    /// Hands out a record. One of a partition given back in the meantime is dropped: it
    /// has not been committed.
    fn deliver(&mut self, record: OwnedMessage) {
        let bytes = record.payload().map_or(0, <[u8]>::len) + OVERHEAD_BYTES;
        let (partition, offset) = (record.partition(), record.offset());
        if let Some((in_flight, lease)) = self.partitions.start(partition, offset, bytes) {
            self.metrics
                .in_flight(self.trigger, self.partitions.in_flight());
            (self.dispatch)(Work::new(self.trigger, in_flight, record, lease));
        }
    }

    /// Takes back what is done. If too much is in flight, waits a moment, then pauses, so
    /// that polling can go on: the group takes a consumer that does not poll for dead.
    fn make_room(&mut self) -> Result<(), KafkaError> {
        let deadline = self.clock.elapsed() + PATIENCE;
        while let Ok(completions) = self.completions.try_recv() {
            self.partitions.end(completions);
        }
        while self.partitions.full() && self.take_back(deadline) {}
        self.metrics
            .in_flight(self.trigger, self.partitions.in_flight());
        if let Some(paused) = &self.paused {
            self.partitions.hold(&paused.borrow());
        }
        let change = self.partitions.repause();
        self.metrics.paused(self.trigger, self.partitions.paused());
        if !change.pause.is_empty() {
            if self.partitions.paused() > 0 {
                tracing::debug!(partitions = ?change.pause, "paused: too much is in flight");
            }
            self.member.consumer().pause(&change.pause)?;
        }
        if !change.resume.is_empty() {
            tracing::debug!(partitions = ?change.resume, "resumed");
            self.member.consumer().resume(&change.resume)?;
        }
        Ok(())
    }

    /// Tells how far it has come.
    fn tell(&mut self) {
        self.ends.watch(self.partitions.owned());
        if let Some(answer) = self.ends.poll() {
            self.last_ends = answer.ends.into_iter().collect();
        }
        let positions = self.positions();
        self.assignments
            .tell(&self.topic, &self.partitions, &positions, &self.last_ends);
        if self.paused.is_some() {
            let mut held = self.partitions.owned();
            held.retain(|partition| self.partitions.is_held(*partition));
            self.metrics.held(self.trigger, held.len());
            self.health.note_paused(&held);
        }
    }

    /// Checks that the consumer is in its group and that no partition stalls.
    fn check_member(&mut self) -> anyhow::Result<()> {
        let (partitions, ends) = (&self.partitions, &self.last_ends);
        self.member.check(|consumer| {
            let active = partitions.read();
            let mut unread = consumer.positions();
            unread.retain(|(partition, position)| {
                let end = ends.get(partition);
                active.contains(partition) && end.is_some_and(|end| position < end)
            });
            unread
        })
    }

    /// Waits for one in_flight; whether one came before the deadline.
    fn take_back(&mut self, deadline: Duration) -> bool {
        let left = deadline.saturating_sub(self.clock.elapsed());
        let Ok(completions) = self.completions.recv_timeout(left) else {
            return false;
        };
        self.partitions.end(completions);
        true
    }

    fn follow(&mut self, rebalance: Rebalance) -> Result<(), KafkaError> {
        let kind = rebalance.kind();
        self.obey(rebalance)?;
        let partitions = self.partitions.owned().len();
        self.metrics.rebalanced(self.trigger, kind, partitions);
        Ok(())
    }

    fn obey(&mut self, rebalance: Rebalance) -> Result<(), KafkaError> {
        match rebalance {
            Rebalance::Assigned(ids) => {
                tracing::info!(partitions = ?ids, "assigned");
                ids.iter().for_each(|&id| self.partitions.assign(id));
                self.member.consumer().assign(&ids)?;
                self.health.set_ready(condition(self.trigger));
            }
            Rebalance::Revoked(ids) => {
                tracing::info!(partitions = ?ids, "revoked");
                self.settle(&ids, REVOKE_LIMIT);
                self.release(&ids)?;
            }
            Rebalance::Lost(ids) => {
                tracing::warn!(partitions = ?ids, "lost");
                self.health
                    .set_not_ready(condition(self.trigger), "expelled; joining again");
                self.release(&ids)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, ids: &[i32]) -> Result<(), KafkaError> {
        ids.iter().for_each(|&id| self.partitions.remove(id));
        self.member.consumer().unassign(ids)
    }

    /// Lets partitions come to rest: nothing new is begun, what is under way may finish
    /// within `limit`, and what is finished is committed.
    fn settle(&mut self, partitions: &[i32], limit: Duration) {
        partitions
            .iter()
            .for_each(|&id| self.partitions.release(id));
        let deadline = self.clock.elapsed() + limit;
        while self.partitions.busy(partitions) {
            if !self.take_back(deadline) {
                tracing::warn!("actions under way did not finish in time; they will be repeated");
                break;
            }
        }
        // Earlier commits may still be on their way, and may fail.
        self.partitions.forget_commits();
        self.commit(partitions, CommitMode::Sync);
    }

    fn commit(&mut self, partitions: &[i32], mode: CommitMode) {
        if self.member.consumer().take_commit_failed() {
            self.partitions.forget_commits();
        }
        let positions = self.positions();
        let progress = self.partitions.progress(partitions, &positions);
        if progress.is_empty() {
            return;
        }
        if let Err(error) = self.member.consumer().commit_offsets(&progress, mode) {
            tracing::warn!(%error, "a commit failed; what it covered may be done again");
            self.partitions.forget_commits();
        }
    }

    fn positions(&self) -> BTreeMap<i32, i64> {
        self.member.consumer().positions().into_iter().collect()
    }
}

/// What the process is not ready for until it has been told what is its own.
fn condition(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Ending => "group",
        Trigger::Warning => "group of warnings",
    }
}
