//! The tracker's loop: polls, applies, commits. A single thread owns the engine and the
//! consumer.

pub(crate) mod memory;
mod misrouting;
pub mod report;

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::assignment::PartitionManager;
use super::engine::Engine;
use super::kafka::io::KafkaIo;
use super::queries::Executor;
use crate::health::Heartbeat;
use crate::kafka::group::{Member, Rebalance};
use crate::session::Timestamp;
use memory::MemoryWatch;
use misrouting::MisroutingLog;

/// How long a poll waits for the first record of a burst.
const IDLE_POLL: Duration = Duration::from_millis(10);
/// Records of one burst: few enough to stay in the processor's caches from the poll until they
/// are applied.
const BURST: usize = 256;
/// How long the last commit may delay the end of the process.
const STOP_COMMIT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the loop may stall before the process counts as dead: longer than a rebalance
/// waits for a commit.
const MAX_STALL: Duration = Duration::from_secs(90);

/// The tracker's loop.
pub(crate) struct TrackerWorker {
    partition_manager: PartitionManager<KafkaIo>,
    member: Member,
    executor: Executor,
    heartbeat: Heartbeat,
    memory: Option<MemoryWatch>,
    misrouting_log: MisroutingLog,
}

impl TrackerWorker {
    /// Creates a loop around `engine` that answers queries with `executor`. It sets the
    /// conditions `group`, `policies`, `restore`, `clock` and `routing`.
    #[must_use]
    pub(crate) fn new(
        engine: Engine,
        member: Member,
        io: KafkaIo,
        (executor, memory): (Executor, Option<MemoryWatch>),
    ) -> Self {
        let heartbeat = io.health.heartbeat("tracker", MAX_STALL);
        let table = io.settings.table.clone();
        Self {
            partition_manager: PartitionManager::new(engine, io, table),
            member,
            executor,
            heartbeat,
            memory,
            misrouting_log: MisroutingLog::default(),
        }
    }

    /// Runs until `stop`, then commits what is pending and leaves the group.
    ///
    /// # Errors
    /// If a retry cannot help: a checkpoint record of a later release, a consumer that
    /// librdkafka has declared dead, an eviction from the group, or a stalled partition.
    pub(crate) fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            self.check_memory();
            self.apply_records()?;
            while let Some(rebalance) = self.member.next_rebalance() {
                self.rebalance(&rebalance)?;
            }
            let engine = self.partition_manager.engine();
            self.member.check(|_| engine.unread())?;
            self.partition_manager.round()?;
            self.executor.run(self.partition_manager.engine());
            self.report_if_due();
        }
        self.finish();
        Ok(())
    }

    fn check_memory(&mut self) {
        let now = self.partition_manager.io().clock.elapsed();
        let changed = self.memory.as_mut().and_then(|memory| memory.check(now));
        if let Some(may_grow) = changed {
            self.partition_manager.engine_mut().set_may_grow(may_grow);
        }
    }

    /// Applies a burst of the records that have arrived.
    fn apply_records(&mut self) -> anyhow::Result<()> {
        let now_upper = self.partition_manager.now_upper();
        let consumer = self.member.consumer();
        let mut records = SmallVec::<[_; BURST]>::new();
        let mut timeout = IDLE_POLL;
        while records.len() < BURST {
            match consumer.poll(timeout) {
                Some(Ok(record)) => records.push(record),
                Some(Err(error)) if is_out_of_range(&error) => {
                    tracing::error!(%error, "retention deleted events before they were read; restoring all partitions");
                    self.partition_manager.log_truncated();
                }
                Some(Err(error)) => consumer.check(error)?,
                None => break,
            }
            timeout = Duration::ZERO;
        }
        for run in records.chunk_by(|a, b| a.partition() == b.partition()) {
            let partition = run[0].partition();
            let engine = self.partition_manager.engine_mut();
            engine.apply(partition, run, now_upper);
        }
        Ok(())
    }

    fn rebalance(&mut self, rebalance: &Rebalance) -> anyhow::Result<()> {
        self.partition_manager.rebalance(rebalance)?;
        let assigned = self.partition_manager.engine().assigned();
        let assigned = assigned.map(|(number, _)| number).collect();
        let io = self.partition_manager.io_mut();
        io.rebalanced(rebalance.kind(), assigned);
        Ok(())
    }

    fn finish(mut self) {
        self.partition_manager
            .io()
            .health
            .set_not_ready("stopping", "the process has been asked to stop");
        self.partition_manager.commit_now(STOP_COMMIT_TIMEOUT);
        self.write_last_report();
        self.partition_manager.into_io().stop();
        // The last owner of the consumer closes it, which leaves the group.
        drop(self.member);
        tracing::info!("stopped");
    }
}

/// Whether retention has deleted the position from which a partition would be read next.
fn is_out_of_range(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset)
}

/// Returns the watermark unless it has never moved.
fn known(watermark: Timestamp) -> Option<Timestamp> {
    (watermark > Timestamp::MIN).then_some(watermark)
}
