//! The thread that reads events, hands them out, and commits what is finished.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
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
use crate::kafka::errors::WithHint;
use crate::kafka::group::{
    EvictionDetector, GroupConsumer, Rebalance, StallDetector, assign, unassign,
};

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
    /// Subscribed.
    pub consumer: GroupConsumer,
    /// Notices if it does not find back into the group.
    pub eviction: EvictionDetector,
    /// Notices partitions that it does not get on with.
    pub stall: StallDetector,
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
    /// If the consumer has failed for good, does not find back into its group, or does not
    /// get on with a partition.
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
        // Dropping the consumer closes it, and closing it revokes what it has.
        self.consumer.context().close();
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
                let positions = positions(&self.consumer);
                self.tell(&positions);
                self.check_stalls(&positions)?;
            }
            let polled = self.consumer.poll(POLL);
            match polled.map(|record| record.map(|record| record.detach())) {
                Some(Ok(record)) => self.deliver(record),
                Some(Err(error)) => explain(error, &self.topic)?,
                None => {}
            }
            while let Some(rebalance) = self.consumer.context().next_rebalance() {
                self.eviction.note(&rebalance, self.clock.elapsed());
                self.follow(rebalance)?;
            }
            self.eviction.check(self.clock.elapsed())?;
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
            self.consumer.pause(&self.list(&change.pause))?;
        }
        if !change.resume.is_empty() {
            tracing::debug!(partitions = ?change.resume, "resumed");
            self.consumer.resume(&self.list(&change.resume))?;
        }
        Ok(())
    }

    /// Tells how far it has come: the consumer, to these positions.
    fn tell(&mut self, positions: &BTreeMap<i32, i64>) {
        self.ends.watch(self.partitions.owned());
        if let Some(answer) = self.ends.answer() {
            self.last_ends = answer.ends.into_iter().collect();
        }
        self.assignments
            .tell(&self.topic, &self.partitions, positions, &self.last_ends);
        if self.paused.is_some() {
            let mut held = self.partitions.owned();
            held.retain(|partition| self.partitions.is_held(*partition));
            self.metrics.held(self.trigger, held.len());
            self.health.note_paused(&held);
        }
    }

    /// Looks whether the consumer, which has come this far, gets on with its partitions.
    fn check_stalls(&mut self, positions: &BTreeMap<i32, i64>) -> anyhow::Result<()> {
        let unread = self.partitions.read().into_iter().filter_map(|partition| {
            let position = *positions.get(&partition)?;
            let end = *self.last_ends.get(&partition)?;
            (position < end).then_some((partition, position))
        });
        let now = self.clock.elapsed();
        Ok(self.stall.check(&self.consumer, unread, now)?)
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
        let kind = match rebalance {
            Rebalance::Assigned(_) => "assigned",
            Rebalance::Revoked(_) => "revoked",
            Rebalance::Lost(_) => "lost",
        };
        self.obey(rebalance)?;
        let partitions = self.partitions.owned().len();
        self.metrics.rebalanced(self.trigger, kind, partitions);
        Ok(())
    }

    fn obey(&mut self, rebalance: Rebalance) -> Result<(), KafkaError> {
        match rebalance {
            Rebalance::Assigned(list) => {
                let ids = ids(&list);
                tracing::info!(partitions = ?ids, "assigned");
                ids.iter().for_each(|&id| self.partitions.assign(id));
                assign(&self.consumer, &list)?;
                if !ids.is_empty() {
                    // A pause outlives the assignment that it was meant for.
                    self.consumer.resume(&list)?;
                }
                self.health.set_ready(condition(self.trigger));
            }
            Rebalance::Revoked(list) => {
                let ids = ids(&list);
                tracing::info!(partitions = ?ids, "revoked");
                self.settle(&ids, REVOKE_LIMIT);
                self.release(&list)?;
            }
            Rebalance::Lost(list) => {
                tracing::warn!(partitions = ?ids(&list), "lost");
                self.health
                    .set_not_ready(condition(self.trigger), "expelled; joining again");
                self.release(&list)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        ids(list)
            .into_iter()
            .for_each(|id| self.partitions.remove(id));
        unassign(&self.consumer, list)
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
        if self.consumer.context().commit_failed() {
            self.partitions.forget_commits();
        }
        let positions = positions(&self.consumer);
        let progress = self.partitions.progress(partitions, &positions);
        if progress.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in progress {
            let mut element = list.add_partition(&self.topic, partition);
            // Offsets of records are never negative, so this cannot be refused.
            let _ = element.set_offset(Offset::Offset(offset));
        }
        if let Err(error) = self.consumer.commit(&list, mode) {
            tracing::warn!(%error, "a commit failed; what it covered may be done again");
            self.partitions.forget_commits();
        }
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}

/// What the process is not ready for until it has been told what is its own.
fn condition(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Ending => "group",
        Trigger::Warning => "group of warnings",
    }
}

fn ids(list: &TopicPartitionList) -> Vec<i32> {
    let elements = list.elements();
    elements.iter().map(|element| element.partition()).collect()
}

/// Where the consumer stands, of the partitions that it has read anything of.
fn positions(consumer: &GroupConsumer) -> BTreeMap<i32, i64> {
    let Ok(list) = consumer.position() else {
        return BTreeMap::new();
    };
    let elements = list.elements();
    let known = elements
        .iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
    known.collect()
}

/// Errors that librdkafka recovers from on its own are logged.
fn explain(error: KafkaError, topic: &str) -> Result<(), KafkaError> {
    match error {
        KafkaError::MessageConsumptionFatal(_) => Err(error),
        KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition) => {
            tracing::warn!(
                topic,
                "the topic is gone; make it with `sundown topics create`"
            );
            Ok(())
        }
        error => {
            tracing::warn!(error = %WithHint(&error), topic, "reading failed; trying again");
            Ok(())
        }
    }
}
