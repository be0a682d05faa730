//! What to do when the group gives and takes partitions.

use std::time::Duration;

use super::{Io, ManagerEvent, PartitionManager};
use crate::kafka::group::Rebalance;

/// How long a commit may hold up a rebalance. Its own calls give up before that.
pub(super) const COMMIT_PATIENCE: Duration = Duration::from_secs(60);

impl<S: Io> PartitionManager<S> {
    /// Deals with a rebalance. The group waits for it.
    ///
    /// # Errors
    /// If the consumer refuses what the group wants; the process cannot go on.
    pub fn rebalance(&mut self, rebalance: &Rebalance) -> anyhow::Result<()> {
        match rebalance {
            Rebalance::Assigned(partitions) => {
                // Nothing is read before its state is there.
                self.io.assign_paused(partitions)?;
                for &partition in partitions {
                    let restore_id = self.engine.assign(partition);
                    self.waiting.push((partition, restore_id));
                }
            }
            Rebalance::Revoked(partitions) => {
                self.commit_now(COMMIT_PATIENCE);
                self.give_up(partitions);
                self.io.unassign(partitions)?;
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(
                    ?partitions,
                    "lost: the group evicted this member, or its generation is over"
                );
                self.give_up(partitions);
                self.io.unassign(partitions)?;
            }
        }
        self.tell_restoring();
        Ok(())
    }

    /// What is in memory does not fit the log any more.
    pub(super) fn restore_everything(&mut self) {
        self.waiting = self.engine.abort();
        let partitions: Vec<i32> = self.waiting.iter().map(|(number, _)| *number).collect();
        self.io.pause(&partitions);
        self.tell_restoring();
    }

    pub(super) fn tell_restoring(&mut self) {
        let assigned = self.engine.assigned();
        let restoring = assigned.filter(|(_, state)| state.is_none()).count();
        self.io.tell(ManagerEvent::Restoring(restoring));
    }

    fn give_up(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.engine.revoke(partition);
            self.waiting.retain(|(waiting, _)| *waiting != partition);
        }
    }
}
