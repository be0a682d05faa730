//! Partitions that the group assigns, revokes or loses.

use std::time::Duration;

use super::{Io, PartitionManager};
use crate::kafka::group::Rebalance;

/// How long a commit may delay a rebalance. Its own calls time out before that.
pub(super) const REBALANCE_COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

impl<I: Io> PartitionManager<I> {
    /// Handles a rebalance. The group waits for it.
    ///
    /// # Errors
    /// If the consumer refuses the assignment; the process has to end.
    pub fn rebalance(&mut self, rebalance: &Rebalance) -> anyhow::Result<()> {
        match rebalance {
            Rebalance::Assigned(partitions) => {
                // No partition is read before its state has been restored.
                self.io.assign_paused(partitions)?;
                for &partition in partitions {
                    self.restore_again(partition);
                }
            }
            Rebalance::Revoked(partitions) => {
                self.commit_now(REBALANCE_COMMIT_TIMEOUT);
                self.drop_partitions(partitions);
                self.io.unassign(partitions)?;
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(
                    ?partitions,
                    "partitions lost: the group evicted this member"
                );
                self.drop_partitions(partitions);
                self.io.unassign(partitions)?;
            }
        }
        self.count_restoring();
        Ok(())
    }

    fn drop_partitions(&mut self, partitions: &[i32]) {
        for &partition in partitions {
            self.engine.revoke(partition);
            self.forget_failures(partition);
            self.pending_restores
                .retain(|(pending, _)| *pending != partition);
        }
    }
}
