//! How to get a partition's state, and to read on from there.

use std::sync::Arc;

use super::{Io, ManagerEvent, PartitionManager, RestoreOutcome, RestoreResult};
use crate::session::PolicySet;
use crate::tracker::engine::RestoreId;
use crate::tracker::restore::{RestoreSettings, Restored};

impl<S: Io> PartitionManager<S> {
    /// Has partitions restored, and takes those that have been.
    pub(super) fn take_restored(&mut self) -> anyhow::Result<()> {
        // Not before the clocks are known: events would be taken for events from the
        // future on a machine that is behind. Nor before the policies are: sessions would
        // end by other rules than theirs. Nor before it is known what is paused.
        if self.engine.clocks().known()
            && self.engine.pauses_known()
            && let Some(policies) = self.engine.policies().cloned()
        {
            for (partition, restore_id) in std::mem::take(&mut self.waiting) {
                self.begin_restore(partition, restore_id, Arc::clone(&policies));
            }
        }
        while let Some(result) = self.io.restored() {
            self.restored(result)?;
        }
        Ok(())
    }

    /// Goes on where the log begins by now. Not while a commit is under way: a restore
    /// that runs beside it could see its checkpoints without its offset.
    pub(super) fn restore_truncated(&mut self) {
        if self.log_truncated && !self.io.committing() {
            self.log_truncated = false;
            self.restore_everything();
        }
    }

    fn begin_restore(&mut self, partition: i32, restore_id: RestoreId, policies: Arc<PolicySet>) {
        let settings = RestoreSettings {
            partition,
            partition_count: self.partition_count,
            table: self.table.clone(),
            policies,
            clocks: *self.engine.clocks(),
        };
        self.io.restore(restore_id, settings);
    }

    fn restored(&mut self, result: RestoreResult<S::Error>) -> anyhow::Result<()> {
        let RestoreResult {
            restore_id,
            partition,
            outcome,
        } = result;
        if self.engine.restoring(partition) != Some(restore_id) {
            return Ok(());
        }
        match outcome {
            RestoreOutcome::Restored(restored) => self.go_live(restore_id, partition, *restored),
            RestoreOutcome::Failed(error) => {
                tracing::warn!(partition, %error, "restoring again");
                self.waiting.push((partition, restore_id));
            }
            RestoreOutcome::Impossible(error) => return Err(error),
            RestoreOutcome::Stopped => {}
        }
        Ok(())
    }

    /// Has a partition read from `position` on; restores it if that cannot be done. Whether
    /// it could.
    pub(super) fn read_on(&mut self, partition: i32, position: i64) -> bool {
        let Err(error) = self.io.seek(partition, position) else {
            return true;
        };
        tracing::warn!(partition, position, %error, "cannot read on from there; restoring again");
        let restore_id = self.engine.assign(partition);
        self.waiting.push((partition, restore_id));
        self.tell_restoring();
        false
    }

    fn go_live(&mut self, restore_id: RestoreId, partition: i32, restored: Restored) {
        let position = restored.partition.position();
        // One that is paused is read on when it is resumed.
        if !self.engine.is_paused(partition) && !self.read_on(partition, position) {
            return;
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
        self.io.tell(ManagerEvent::Restored(&restored));
        self.engine
            .restored(restore_id, partition, Box::new(restored.partition));
        self.tell_restoring();
    }
}
