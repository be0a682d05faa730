//! The tracker's loop: polls, applies, commits. One thread, which alone touches the
//! engine and the consumer.

pub mod report;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use tokio_util::sync::CancellationToken;

use super::assignment::{Change, PartitionManager};
use super::engine::Engine;
use super::kafka::io::KafkaIo;
use super::kafka::io::{Parts, Settings};
use super::queries::Executor;
use crate::clock::Clock;
use crate::health::{Health, Heartbeat};
use crate::kafka::errors::WithHint;
use crate::kafka::group::{GroupConsumer, Rebalance};
use crate::session::Timestamp;
use crate::tracker::metrics::TrackerMetrics;

/// How long to wait for a record when there is none.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// Records applied before anything else is looked at: few enough to stay in the
/// processor's caches from the poll on.
const BURST: usize = 256;
/// How long a commit may hold up the end of the process.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How long the loop may be stuck before the process counts as dead: longer than a
/// rebalance waits for a commit.
const MAX_STALL: Duration = Duration::from_secs(90);
/// How often it is looked whether partitions stand still.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The loop.
pub struct Worker {
    partition_manager: PartitionManager<KafkaIo>,
    consumer: Arc<GroupConsumer>,
    executor: Executor,
    heartbeat: Heartbeat,
    told_misrouted: bool,
    /// When it was last looked whether partitions stand still.
    looked_at: Duration,
}

impl Worker {
    /// A loop around `engine`, with somebody to answer questions about sessions. It sets the conditions `group`, `policies`, `restore`
    /// and `clock`.
    #[must_use]
    pub fn new(
        engine: Engine,
        parts: Parts,
        executor: Executor,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: TrackerMetrics,
    ) -> Self {
        let heartbeat = health.heartbeat("tracker", MAX_STALL);
        let consumer = Arc::clone(&parts.consumer);
        let (partitions, table) = (settings.partitions, settings.table.clone());
        let io = KafkaIo::new(parts, settings, clock, health, metrics);
        Self {
            partition_manager: PartitionManager::new(engine, io, partitions, table),
            consumer,
            executor,
            heartbeat,
            told_misrouted: false,
            looked_at: Duration::ZERO,
        }
    }

    /// Runs until `stop`; then commits what there is, and leaves the group.
    ///
    /// # Errors
    /// What cannot be mended by trying again: a checkpoint record of a later release, or
    /// a consumer that librdkafka has declared dead, that does not find back into its group,
    /// or that does not get on with a partition.
    pub fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            self.apply_records()?;
            while let Some(rebalance) = self.consumer.context().next_rebalance() {
                self.rebalance(&rebalance)?;
            }
            self.check_consumer()?;
            self.partition_manager.round()?;
            self.executor.serve(self.partition_manager.engine());
            self.report_if_due();
        }
        self.finish();
        Ok(())
    }

    /// Applies the records that have arrived, up to a burst of them.
    fn apply_records(&mut self) -> anyhow::Result<()> {
        let now_upper = self.partition_manager.now_upper();
        let consumer = Arc::clone(&self.consumer);
        let mut records = Vec::with_capacity(BURST);
        let mut patience = IDLE_POLL;
        while records.len() < BURST {
            match consumer.poll(patience) {
                Some(Ok(record)) => records.push(record),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    anyhow::bail!(
                        "the consumer cannot go on: {code}; the process has to be restarted"
                    );
                }
                Some(Err(error)) if is_out_of_range(&error) => {
                    tracing::error!(%error, "events were deleted before they were read; restoring all partitions");
                    self.partition_manager.log_truncated();
                }
                Some(Err(error)) => {
                    let topic = &self.partition_manager.io().settings.topics.session_logs;
                    tracing::warn!(topic, error = %WithHint(&error), "the consumer goes on after an error");
                }
                None => break,
            }
            patience = Duration::ZERO;
        }
        for run in records.chunk_by(|a, b| a.partition() == b.partition()) {
            let partition = run[0].partition();
            if let Some(offset) = self.partition_manager.apply(partition, run, now_upper) {
                self.tell_misrouted(partition, offset);
            }
        }
        Ok(())
    }

    fn tell_misrouted(&mut self, partition: i32, offset: i64) {
        if !self.told_misrouted {
            self.told_misrouted = true;
            tracing::warn!(
                partition,
                offset,
                "the record's key belongs on another partition, or it has none: sessions whose events \
                 are spread over partitions end early; write with the murmur2 partitioner and the \
                 session id as key. Further ones are counted, not logged"
            );
        }
    }

    fn rebalance(&mut self, rebalance: &Rebalance) -> anyhow::Result<()> {
        let (name, change) = match rebalance {
            Rebalance::Assigned(list) => ("assigned", Change::Assigned(numbers(list))),
            Rebalance::Revoked(list) => ("revoked", Change::Revoked(numbers(list))),
            Rebalance::Lost(list) => ("lost", Change::Lost(numbers(list))),
        };
        self.partition_manager.rebalance(&change)?;
        let io = self.partition_manager.io_mut();
        let now = io.clock.elapsed();
        io.parts.eviction.note(rebalance, now);
        let assigned = self.partition_manager.engine().assigned();
        let assigned = assigned.map(|(number, _)| number).collect();
        self.partition_manager.io_mut().rebalanced(name, assigned);
        Ok(())
    }

    /// Looks whether the consumer is in its group, and gets on with its partitions.
    fn check_consumer(&mut self) -> anyhow::Result<()> {
        let io = self.partition_manager.io_mut();
        let now = io.clock.elapsed();
        io.parts.eviction.check(now)?;
        if now.saturating_sub(self.looked_at) < LOOK_INTERVAL {
            return Ok(());
        }
        self.looked_at = now;
        let unread: Vec<_> = self.partition_manager.engine().unread().collect();
        let parts = &mut self.partition_manager.io_mut().parts;
        Ok(parts.stall.check(&self.consumer, unread, now)?)
    }

    fn finish(mut self) {
        self.partition_manager
            .io()
            .health
            .set_not_ready("stopping", "the process has been asked to stop");
        self.partition_manager.commit_now(STOP_PATIENCE);
        self.write_last_report();
        self.consumer.context().close();
        self.partition_manager.into_surroundings().stop();
        // Leaves the group: the last owner's drop closes the consumer.
        drop(self.consumer);
        tracing::info!("stopped");
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    let elements = partitions.elements();
    elements
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}

/// Whether there is nothing in a partition any more where it would be read next.
fn is_out_of_range(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset)
}

/// A watermark, unless nothing has moved it yet.
fn known(watermark: Timestamp) -> Option<Timestamp> {
    (watermark > Timestamp::MIN).then_some(watermark)
}
