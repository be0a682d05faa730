//! How the loop gets a partition's state, and reads on from there.

use std::sync::Arc;

use super::Worker;
use crate::kafka::group;
use crate::kafka::restore::{RestoreError, RestoreJob, RestoreResult};
use crate::session::PolicySet;
use crate::tracker::engine::Ticket;
use crate::tracker::restore::RestoreSettings;

impl Worker {
    /// Hands partitions to the restorers, and takes those that they have finished.
    pub(super) fn take_restored(&mut self) -> anyhow::Result<()> {
        // Not before the clocks are known: events would be taken for events from the
        // future on a machine that is behind. Nor before the policies are: sessions would
        // end by other rules than theirs.
        if self.engine.clocks().known()
            && let Some(policies) = self.engine.policies().cloned()
        {
            for (partition, ticket) in std::mem::take(&mut self.waiting) {
                self.submit_restore(partition, ticket, Arc::clone(&policies));
            }
        }
        while let Some(result) = self.parts.restores.result() {
            self.restored(result)?;
        }
        Ok(())
    }

    /// Goes on where the log begins by now. Not while a commit is under way: a restore
    /// that runs beside it could see its checkpoints without its offset.
    pub(super) fn restore_if_overtaken(&mut self) {
        if self.overtaken && !self.parts.commits.busy() {
            self.overtaken = false;
            self.restore_everything();
        }
    }

    fn submit_restore(&self, partition: i32, ticket: Ticket, policies: Arc<PolicySet>) {
        let settings = RestoreSettings {
            partition,
            siblings: self.settings.partitions,
            table: self.settings.table.clone(),
            policies,
            now: self.engine.clocks().upper(self.reading()),
        };
        self.parts.restores.submit(RestoreJob { ticket, settings });
    }

    fn restored(&mut self, result: RestoreResult) -> anyhow::Result<()> {
        let RestoreResult {
            ticket,
            partition,
            outcome,
        } = result;
        if self.engine.restoring(partition) != Some(ticket) {
            return Ok(());
        }
        let restored = match outcome {
            Ok(restored) => restored,
            Err(RestoreError::Stopped) => return Ok(()),
            Err(error @ RestoreError::Checkpoint(_)) => {
                let topic = &self.settings.topics.checkpoint;
                return Err(anyhow::Error::new(error).context(format!(
                    "cannot restore from {topic}, partition {partition}"
                )));
            }
            Err(error @ (RestoreError::Kafka { .. } | RestoreError::Truncated { .. })) => {
                tracing::warn!(partition, %error, "restoring again");
                self.waiting.push((partition, ticket));
                return Ok(());
            }
        };
        let position = restored.partition.position();
        let topic = &self.settings.topics.session_logs;
        let consumer = &self.parts.consumer;
        if let Err(error) = group::read_from(consumer, topic, partition, position) {
            tracing::warn!(partition, position, %error, "cannot read on where the restore ended; restoring again");
            let ticket = self.engine.assign(partition);
            self.waiting.push((partition, ticket));
            return Ok(());
        }
        if let Some(degraded) = &restored.degraded {
            tracing::error!(partition, reason = %degraded, "took every session of the partition as active: they end late rather than wrongly");
        }
        tracing::info!(
            partition,
            position,
            sessions = restored.partition.sessions(),
            records = restored.records,
            replayed = restored.replayed,
            "restored"
        );
        self.metrics.restored(
            restored.records,
            restored.replayed,
            restored.degraded.is_some(),
        );
        self.engine
            .restored(ticket, partition, Box::new(restored.partition));
        self.tell_restoring();
        Ok(())
    }
}
