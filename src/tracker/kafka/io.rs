//! The loop's io, on Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use crate::clock::{BrokerSample, Clock, Reading};
use crate::health::Health;
use crate::kafka::end_offsets::{EndOffsetWatch, EndOffsets};
use crate::kafka::group::{EvictionDetector, GroupConsumer, StallDetector};
use crate::kafka::{Topics, group};
use crate::processes;
use crate::processes::{Identity, Reporter};
use crate::session::{PolicySet, TableConfig};
use crate::tracker::assignment::{Committed, Io, ManagerEvent, RestoreOutcome, RestoreResult};
use crate::tracker::engine::{Batch, RestoreId};
use crate::tracker::kafka::commit_error::CommitError;
use crate::tracker::kafka::commit_thread::CommitThread;
use crate::tracker::kafka::restore_log::RestoreError;
use crate::tracker::kafka::restore_pool::{RestoreJob, RestorePool};
use crate::tracker::metrics::TrackerMetrics;
use crate::tracker::restore::RestoreSettings;

/// A member of the group with everything around it.
pub(crate) struct KafkaIo {
    pub(crate) parts: Parts,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) metrics: TrackerMetrics,
    /// The latest answer about each partition's end, for reports.
    pub(crate) last_ends: Vec<(i32, i64)>,
    last_report: Option<Duration>,
    /// When the restore of a partition began, on the clock.
    restores: BTreeMap<i32, Duration>,
}

/// Why something came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KafkaIoError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("cannot read on: {0}")]
    Seek(#[from] rdkafka::error::KafkaError),
}

impl KafkaIo {
    pub(crate) fn new(
        parts: Parts,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: TrackerMetrics,
    ) -> Self {
        metrics.bounds(settings.partitions, settings.table.max_sessions);
        Self {
            parts,
            settings,
            clock,
            health,
            metrics,
            last_ends: Vec::new(),
            last_report: None,
            restores: BTreeMap::new(),
        }
    }

    /// A rebalance (`assigned`, `revoked`, `lost`) has been dealt with.
    pub(crate) fn rebalanced(&mut self, what: &'static str, assigned: Vec<i32>) {
        self.metrics.rebalanced(what);
        tracing::info!(partitions = ?assigned, "assigned");
        self.parts.ends.watch(assigned);
        self.health.set_ready("group");
        self.last_report = None;
    }

    /// Whether it is time for a process report, which is then to be written.
    pub(crate) fn report_is_due(&mut self) -> bool {
        let now = self.clock.elapsed();
        let due = self
            .last_report
            .is_none_or(|last| now.saturating_sub(last) >= processes::INTERVAL);
        if due {
            self.last_report = Some(now);
        }
        due
    }

    /// Lets go of everything. The consumer leaves the group with its last owner.
    pub(crate) fn stop(self) {
        self.parts.commits.stop();
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.settings.topics.session_logs, partition);
        }
        list
    }

    fn assign_paused(&self, partitions: &[i32]) -> KafkaResult<()> {
        let mut list = self.list(partitions);
        // Nothing is read from here, but without an offset librdkafka would look for a
        // committed one, and might find none.
        list.set_all_offsets(Offset::Beginning)?;
        group::assign(&self.parts.consumer, &list)?;
        self.parts.consumer.pause(&list)
    }
}

impl Io for KafkaIo {
    type Error = KafkaIoError;
    type Member = ConsumerGroupMetadata;

    fn reading(&self) -> Reading {
        Reading {
            wall: self.clock.wall(),
            elapsed: self.clock.elapsed(),
        }
    }

    fn policies(&mut self) -> Option<Arc<PolicySet>> {
        self.parts.policies.try_recv().ok()
    }

    fn pauses(&mut self) -> Option<BTreeSet<i32>> {
        self.parts.pauses.try_recv().ok()
    }

    fn sample(&mut self) -> Option<BrokerSample> {
        self.parts.reporter.sample()
    }

    fn ends(&mut self) -> Option<EndOffsets> {
        let answer = self.parts.ends.answer()?;
        self.last_ends.clone_from(&answer.ends);
        Some(answer)
    }

    fn take_over(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        self.assign_paused(partitions).context(REFUSED)
    }

    fn give_back(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let list = self.list(partitions);
        group::unassign(&self.parts.consumer, &list).context(REFUSED)
    }

    fn pause(&mut self, partitions: &[i32]) {
        if let Err(error) = self.parts.consumer.pause(&self.list(partitions)) {
            // Records that come all the same are ignored while restoring.
            tracing::debug!(%error, "cannot pause");
        }
    }

    fn read_from(&mut self, partition: i32, offset: i64) -> Result<(), KafkaIoError> {
        let topic = &self.settings.topics.session_logs;
        Ok(group::read_from(
            &self.parts.consumer,
            topic,
            partition,
            offset,
        )?)
    }

    fn positions(&self) -> Vec<(i32, i64)> {
        let positions = match self.parts.consumer.position() {
            Ok(positions) => positions,
            Err(error) => {
                tracing::debug!(%error, "no position");
                return Vec::new();
            }
        };
        let elements = positions.elements();
        let known = elements.iter().filter_map(|element| {
            let Offset::Offset(position) = element.offset() else {
                return None;
            };
            Some((element.partition(), position))
        });
        known.collect()
    }

    fn restore(&mut self, restore_id: RestoreId, settings: RestoreSettings) {
        let now = self.clock.elapsed();
        self.restores.insert(settings.partition, now);
        self.parts.restores.submit(RestoreJob {
            restore_id,
            settings,
        });
    }

    fn restored(&mut self) -> Option<RestoreResult<KafkaIoError>> {
        let result = self.parts.restores.result()?;
        let partition = result.partition;
        if let Some(begun) = self.restores.remove(&partition) {
            let took = self.clock.elapsed().saturating_sub(begun);
            self.metrics.restore(took, result.outcome.is_ok());
        }
        let outcome = match result.outcome {
            Ok(restored) => RestoreOutcome::Restored(Box::new(restored)),
            Err(RestoreError::Stopped) => RestoreOutcome::Stopped,
            Err(error @ RestoreError::Checkpoint(_)) => {
                let topic = &self.settings.topics.checkpoint;
                RestoreOutcome::Impossible(anyhow::Error::new(error).context(format!(
                    "cannot restore from {topic}, partition {partition}"
                )))
            }
            Err(error @ (RestoreError::Kafka { .. } | RestoreError::Truncated { .. })) => {
                RestoreOutcome::Failed(error.into())
            }
        };
        Some(RestoreResult {
            restore_id: result.restore_id,
            partition,
            outcome,
        })
    }

    fn member(&self) -> Option<ConsumerGroupMetadata> {
        self.parts.consumer.group_metadata()
    }

    fn committing(&self) -> bool {
        self.parts.commits.busy()
    }

    fn commit(&mut self, batch: Batch, member: ConsumerGroupMetadata) {
        self.parts.commits.submit(batch, member);
    }

    fn committed(&mut self, patience: Duration) -> Option<Committed<KafkaIoError>> {
        let Committed {
            batch,
            outcome,
            took,
        } = self.parts.commits.result(patience)?;
        if outcome.as_ref().is_err_and(CommitError::is_fenced) {
            self.metrics.fenced();
        }
        Some(Committed {
            batch,
            outcome: outcome.map_err(KafkaIoError::Commit),
            took,
        })
    }

    fn tell(&mut self, news: ManagerEvent<'_>) {
        match news {
            ManagerEvent::Policies => {
                self.health.set_ready("policies");
                // Who edits a policy waits to see that it has arrived.
                self.last_report = None;
            }
            ManagerEvent::Pauses => {
                self.health.set_ready("pauses");
                self.last_report = None;
            }
            ManagerEvent::Unchecked => {
                let topic = &self.settings.topics.processes;
                tracing::warn!(
                    topic,
                    "the topic keeps producers' timestamps: this machine's clock cannot be checked against the brokers'"
                );
            }
            ManagerEvent::Clocks(trouble) => {
                match &trouble {
                    None => self.health.set_ready("clock"),
                    Some(trouble) => self.health.set_not_ready("clock", trouble.to_string()),
                }
                self.metrics.clocks(trouble.as_ref());
            }
            ManagerEvent::Committed(batch, took) => {
                let lateness = self.settings.table.allowed_lateness;
                let now = self.clock.wall();
                self.metrics
                    .committed(batch, now, lateness, took.as_secs_f64());
            }
            ManagerEvent::Aborted(took) => self.metrics.aborted(took.as_secs_f64()),
            ManagerEvent::Restored(restored) => self.metrics.restored(
                restored.records,
                restored.replayed,
                restored.degraded.is_some(),
            ),
            ManagerEvent::Restoring(0) => self.health.set_ready("restore"),
            ManagerEvent::Restoring(count) => self
                .health
                .set_not_ready("restore", format!("{count} partitions are being restored")),
        }
    }
}

/// What the process ends with.
const REFUSED: &str = "librdkafka refuses the group's assignment";

/// What the loop works with.
pub struct Parts {
    /// The member of the consumer group.
    pub consumer: Arc<GroupConsumer>,
    /// Notices if it does not find back into the group.
    pub eviction: EvictionDetector,
    /// Notices partitions that it does not get on with.
    pub stall: StallDetector,
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
    /// The partitions that are paused, likewise.
    pub pauses: Receiver<BTreeSet<i32>>,
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
