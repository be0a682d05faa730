//! Restores of partitions, from the request until the partition is read.

use std::sync::Arc;

use super::{Io, ManagerEvent, PartitionManager, RestoreOutcome, RestoreResult};
use crate::session::PolicySet;
use crate::tracker::engine::RestoreId;
use crate::tracker::restore::{RestoreSettings, Restored};
use crate::tracker::state_hold::StateHold;

impl<I: Io> PartitionManager<I> {
    /// Starts pending restores once policies, pauses and clocks are known: without them,
    /// sessions would end by other policies than theirs, paused partitions would be read, and
    /// a machine whose clock is behind would clamp the times of honest events.
    ///
    /// A partition of the commit in progress waits for its result. A member that is fenced and rejoins may
    /// get its partitions back in the same epoch (KIP-848): the commit may then succeed after the restore
    /// has read the offset before it.
    pub(super) fn start_restores(&mut self) {
        if self.engine.clocks().known()
            && self.engine.pauses_known()
            && let Some(policies) = self.engine.policies().cloned()
        {
            let now = self.io.reading().elapsed;
            for (partition, restore_id) in std::mem::take(&mut self.pending_restores) {
                if self.attempts.is_due(partition, now) && !self.committing.contains(&partition) {
                    self.start_restore(partition, restore_id, Arc::clone(&policies));
                } else {
                    self.pending_restores.push((partition, restore_id));
                }
            }
        }
    }

    /// Takes over the partitions that have been restored.
    pub(super) fn finish_restores(&mut self) {
        while let Some(result) = self.io.take_restore_result() {
            self.finish_restore(result);
        }
    }

    /// Restores partitions after retention deleted their next records. Not while a commit is in
    /// progress: a concurrent restore could read its checkpoints without its offset.
    pub(super) fn restore_truncated(&mut self) {
        if self.log_truncated && !self.io.is_committing() {
            self.log_truncated = false;
            self.restore_all();
        }
    }

    /// Drops the state in memory, which no longer matches the log, and restores it.
    pub(super) fn restore_all(&mut self) {
        self.pending_restores = self.engine.abort();
        let pending = self.pending_restores.iter();
        let partitions: Vec<i32> = pending.map(|(number, _)| *number).collect();
        self.io.pause(&partitions);
        self.count_restoring();
    }

    pub(super) fn restore_again(&mut self, partition: i32) {
        let restore_id = self.engine.assign(partition);
        self.pending_restores.push((partition, restore_id));
    }

    pub(super) fn count_restoring(&mut self) {
        let assigned = self.engine.assigned();
        let restoring = assigned.filter(|(_, state)| state.is_none()).count();
        self.io.handle(ManagerEvent::Restoring(restoring));
    }

    fn start_restore(&mut self, partition: i32, restore_id: RestoreId, policies: Arc<PolicySet>) {
        let settings = RestoreSettings {
            partition,
            routing: self.engine.routing(),
            table: self.table.clone(),
            policies,
            decode_limits: *self.engine.decode_limits(),
            clocks: *self.engine.clocks(),
        };
        self.io.start_restore(restore_id, settings);
    }

    fn finish_restore(&mut self, result: RestoreResult) {
        let RestoreResult {
            restore_id,
            partition,
            outcome,
        } = result;
        if self.engine.restoring(partition) != Some(restore_id) {
            return;
        }
        match outcome {
            RestoreOutcome::Restored(restored) => self.go_live(restore_id, partition, *restored),
            RestoreOutcome::Failed(error) => {
                let now = self.io.reading().elapsed;
                let retry_in = self.attempts.failed(partition, now);
                tracing::warn!(partition, %error, ?retry_in, "restore failed; retrying");
                self.pending_restores.push((partition, restore_id));
            }
            RestoreOutcome::Held(hold) => {
                self.attempts.held(partition, self.io.reading().elapsed);
                self.pending_restores.push((partition, restore_id));
                self.hold(partition, hold);
            }
            RestoreOutcome::Stopped => {}
        }
    }

    fn hold(&mut self, partition: i32, hold: StateHold) {
        if self.held.get(&partition) != Some(&hold) {
            tracing::error!(partition, reason = %hold, "partition held: its sessions do not end; see `sundown state describe`, resolve with `sundown state reset`");
            self.held.insert(partition, hold);
            self.io.handle(ManagerEvent::Held(&self.held));
        }
    }

    /// Forgets the failures of a partition that is restored or no longer assigned.
    pub(super) fn forget_failures(&mut self, partition: i32) {
        self.attempts.forget(partition);
        if self.held.remove(&partition).is_some() {
            self.io.handle(ManagerEvent::Held(&self.held));
        }
    }

    /// Reads a partition from `position` on, or restores it if the consumer refuses. Returns
    /// whether it is read.
    pub(super) fn resume(&mut self, partition: i32, position: i64) -> bool {
        let Err(error) = self.io.seek(partition, position) else {
            return true;
        };
        tracing::warn!(partition, position, %error, "seek failed; restoring the partition again");
        self.restore_again(partition);
        self.count_restoring();
        false
    }

    fn go_live(&mut self, restore_id: RestoreId, partition: i32, restored: Restored) {
        let position = restored.partition.position();
        // A paused partition is read once it is resumed.
        if !self.engine.is_paused(partition) && !self.resume(partition, position) {
            return;
        }
        if let Some(degraded) = &restored.degraded {
            tracing::error!(partition, reason = %degraded, "degraded restore: treated every session of the partition as active, so that sessions end late rather than early");
        }
        tracing::info!(
            partition,
            position,
            sessions = restored.partition.sessions(),
            records = restored.records,
            replayed = restored.replayed,
            "restored"
        );
        self.forget_failures(partition);
        self.io.handle(ManagerEvent::Restored(&restored));
        let now = self.io.reading().elapsed;
        let live = Box::new(restored.partition);
        self.engine.restored(restore_id, partition, live, now);
        self.count_restoring();
    }
}
