//! The loop's io, on Kafka.

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
    pub(crate) settings: IoSettings,
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
        settings: IoSettings,
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
}

impl Io for KafkaIo {
    type Error = KafkaIoError;
    type GroupMetadata = ConsumerGroupMetadata;

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
        let answer = self.parts.ends.poll()?;
        self.last_ends.clone_from(&answer.ends);
        Some(answer)
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

    fn seek(&mut self, partition: i32, offset: i64) -> Result<(), KafkaIoError> {
        Ok(self.parts.consumer.seek(partition, offset)?)
    }

    fn positions(&self) -> Vec<(i32, i64)> {
        self.parts.consumer.positions()
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

    fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.parts.consumer.group_metadata()
    }

    fn committing(&self) -> bool {
        self.parts.commits.busy()
    }

    fn commit(&mut self, batch: Batch, group: ConsumerGroupMetadata) {
        self.parts.commits.submit(batch, group);
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
    /// The partitions that are paused, likewise.
    pub pauses: Receiver<BTreeSet<i32>>,
}

/// What the loop has to know.
#[derive(Debug)]
pub struct IoSettings {
    /// The topics' names.
    pub topics: Topics,
    /// How many partitions the source topic has.
    pub partitions: i32,
    /// For the tables.
    pub table: TableConfig,
    /// Who this process is.
    pub identity: Identity,
}
