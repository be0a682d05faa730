//! What to do when the group gives and takes partitions.

use std::time::Duration;

use super::{Io, ManagerEvent, PartitionManager};

/// How long a commit may hold up a rebalance. Its own calls give up before that.
pub(super) const COMMIT_PATIENCE: Duration = Duration::from_secs(60);

/// What a rebalance does, in partitions of the source topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The group has given them.
    Assigned(Vec<i32>),
    /// The group takes them away; there is time to commit.
    Revoked(Vec<i32>),
    /// The group has given them to others already: too late to commit.
    Lost(Vec<i32>),
}

impl<S: Io> PartitionManager<S> {
    /// Deals with a rebalance. The group waits for it.
    ///
    /// # Errors
    /// If the consumer refuses what the group wants; the process cannot go on.
    pub fn rebalance(&mut self, change: &Change) -> anyhow::Result<()> {
        match change {
            Change::Assigned(partitions) => {
                // Nothing is read before its state is there.
                self.io.take_over(partitions)?;
                for &partition in partitions {
                    let restore_id = self.engine.assign(partition);
                    self.waiting.push((partition, restore_id));
                }
            }
            Change::Revoked(partitions) => {
                self.commit_now(COMMIT_PATIENCE);
                self.give_up(partitions);
                self.io.give_back(partitions)?;
            }
            Change::Lost(partitions) => {
                tracing::warn!(
                    ?partitions,
                    "lost: the group did not hear of this member in time"
                );
                self.give_up(partitions);
                self.io.give_back(partitions)?;
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
