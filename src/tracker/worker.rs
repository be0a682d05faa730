//! The tracker's loop: polls, applies, commits. One thread, which alone touches the
//! engine and the consumer.

mod committing;
mod membership;
pub mod report;
mod restoring;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use tokio_util::sync::CancellationToken;

use super::clocks::{ClockTrouble, Reading};
use super::engine::{Engine, Ticket};
use crate::admin::{Health, Heartbeat};
use crate::clock::Clock;
use crate::kafka::Topics;
use crate::kafka::commit_thread::CommitThread;
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::GroupConsumer;
use crate::kafka::restore::RestorePool;
use crate::metrics::tracker::TrackerMetrics;
use crate::process_report::Reporter;
use crate::session::{PolicySet, TableConfig, Timestamp};
use report::Identity;

/// How long to wait for a record when there is none.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// Records applied before anything else is looked at: few enough to stay in the
/// processor's caches from the poll on.
const BURST: usize = 256;
/// How long a commit may hold up a rebalance. Its own calls give up before that.
const COMMIT_PATIENCE: Duration = Duration::from_secs(60);
/// How long a commit may hold up the end of the process.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How long the loop may be stuck before the process counts as dead: longer than
/// anything above.
const MAX_STALL: Duration = Duration::from_secs(90);

/// What the loop works with.
pub struct Parts {
    /// The member of the consumer group.
    pub consumer: Arc<GroupConsumer>,
    /// Commits batches.
    pub commits: CommitThread,
    /// Restores partitions.
    pub restores: RestorePool,
    /// Knows where partitions end.
    pub ends: EndOffsetWatch,
    /// Writes process reports.
    pub reporter: Reporter,
    /// The policies, as soon as they are known and whenever they change.
    pub policies: Receiver<Arc<PolicySet>>,
}

/// What the loop has to know.
#[derive(Debug)]
pub struct Settings {
    /// The topics' names.
    pub topics: Topics,
    /// How many partitions the source topic has.
    pub partitions: i32,
    /// For the tables.
    pub table: TableConfig,
    /// Who this process is.
    pub identity: Identity,
}

/// The loop.
pub struct Worker {
    engine: Engine,
    parts: Parts,
    settings: Settings,
    clock: Clock,
    health: Health,
    heartbeat: Heartbeat,
    metrics: TrackerMetrics,
    /// Partitions whose restore has not begun.
    waiting: Vec<(i32, Ticket)>,
    /// The latest answer about each partition's end, for reports.
    last_ends: Vec<(i32, i64)>,
    last_report: Option<Duration>,
    /// Retention has deleted what was to be read next.
    overtaken: bool,
    told_misrouted: bool,
}

impl Worker {
    /// A loop around `engine`. It sets the conditions `group`, `policies`, `restore`
    /// and `clock`.
    #[must_use]
    pub fn new(
        engine: Engine,
        parts: Parts,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: TrackerMetrics,
    ) -> Self {
        let heartbeat = health.heartbeat("tracker", MAX_STALL);
        Self {
            engine,
            parts,
            settings,
            clock,
            health,
            heartbeat,
            metrics,
            waiting: Vec::new(),
            last_ends: Vec::new(),
            last_report: None,
            overtaken: false,
            told_misrouted: false,
        }
    }

    /// Runs until `stop`; then commits what there is, and leaves the group.
    ///
    /// # Errors
    /// What cannot be mended by trying again: a checkpoint record of a later release, or
    /// a consumer that librdkafka has declared dead.
    pub fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            self.apply_records()?;
            while let Some(rebalance) = self.parts.consumer.context().next_rebalance() {
                self.rebalance(rebalance)?;
            }
            self.take_policies();
            self.take_restored()?;
            self.take_samples();
            self.take_ends();
            self.take_commit(Duration::ZERO);
            self.restore_if_overtaken();
            self.commit_if_due();
            self.report_if_due();
        }
        self.finish();
        Ok(())
    }

    /// Applies the records that have arrived, up to a burst of them.
    fn apply_records(&mut self) -> anyhow::Result<()> {
        let now_upper = self.engine.clocks().upper(self.reading());
        let consumer = Arc::clone(&self.parts.consumer);
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
                    self.overtaken = true;
                }
                Some(Err(error)) => tracing::warn!(%error, "the consumer goes on after an error"),
                None => break,
            }
            patience = Duration::ZERO;
        }
        for run in records.chunk_by(|a, b| a.partition() == b.partition()) {
            let partition = run[0].partition();
            if let Some(offset) = self.engine.apply(partition, run, now_upper) {
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

    fn take_policies(&mut self) {
        while let Ok(policies) = self.parts.policies.try_recv() {
            self.engine.set_policies(&policies);
            self.health.set_ready("policies");
            // Who edits a policy waits to see that it has arrived.
            self.last_report = None;
        }
    }

    fn take_samples(&mut self) {
        while let Some(sample) = self.parts.reporter.sample() {
            if !self.engine.clocks().known() && sample.append_time.is_none() {
                let topic = &self.settings.topics.processes;
                tracing::warn!(
                    topic,
                    "the topic keeps producers' timestamps: this machine's clock cannot be checked against the brokers'"
                );
            }
            self.engine.sampled(sample);
        }
    }

    /// Ends what the brokers' answer proves to be over.
    fn take_ends(&mut self) {
        let Some(answer) = self.parts.ends.answer() else {
            return;
        };
        self.step_past_control_records();
        let trouble = self.engine.seen_ends(&answer).err();
        self.last_ends = answer.ends;
        self.tell_clocks(trouble);
    }

    /// Says, on the admin port and as a metric, whether sessions may end now.
    fn tell_clocks(&self, trouble: Option<ClockTrouble>) {
        match trouble {
            None => self.health.set_ready("clock"),
            Some(trouble) => self.health.set_not_ready("clock", trouble.to_string()),
        }
        self.metrics.clocks_agree(trouble.is_none());
    }

    /// The consumer's position is behind transaction markers and aborted records, which
    /// it never delivers. All that it did deliver has been applied.
    fn step_past_control_records(&mut self) {
        match self.parts.consumer.position() {
            Ok(positions) => {
                for element in positions.elements() {
                    if let Offset::Offset(position) = element.offset() {
                        self.engine.reached(element.partition(), position);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no position"),
        }
    }

    fn finish(mut self) {
        self.health
            .set_not_ready("stopping", "the process has been asked to stop");
        self.commit_now(STOP_PATIENCE);
        self.write_last_report();
        let Parts {
            consumer, commits, ..
        } = self.parts;
        consumer.context().close();
        commits.stop();
        // Leaves the group: the last owner's drop closes the consumer.
        drop(consumer);
        tracing::info!("stopped");
    }

    fn reading(&self) -> Reading {
        Reading {
            wall: self.clock.wall(),
            elapsed: self.clock.elapsed(),
        }
    }
}

/// Whether there is nothing in a partition any more where it would be read next.
fn is_out_of_range(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset)
}

/// A watermark, unless nothing has moved it yet.
fn known(watermark: Timestamp) -> Option<Timestamp> {
    (watermark > Timestamp::MIN).then_some(watermark)
}
