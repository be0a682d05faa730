//! How partitions share a transaction.
//!
//! A transaction is bounded whatever the number of partitions: readers see none of it until it
//! has committed, and everything read meanwhile waits for the next one. If not all partitions
//! have room in it, they take turns. Each takes all the room that is left, so that a
//! transaction touches few partitions: its cost for the brokers grows with their number.

use super::{Assigned, Engine, Partition, PartitionBatch};
use crate::session::Timestamp;

impl Engine {
    /// Returns whether the next transaction has reached a limit. Events may have taken it
    /// beyond.
    pub(super) fn reaches_limits(&self) -> bool {
        let pending_stores: usize = self.live().map(Partition::pending_stores).sum();
        self.room() == 0 || pending_stores >= self.limits.stores
    }

    /// Returns the number of outputs that the next transaction has room for.
    fn room(&self) -> usize {
        let outputs: usize = self.live().map(Partition::outputs).sum();
        self.limits.outputs.saturating_sub(outputs)
    }

    /// Ends the sessions whose end is proven.
    pub(super) fn advance(&mut self) {
        let mut room = self.room();
        for number in self.starting_with(self.round_robin.endings) {
            if room == 0 {
                return;
            }
            let Some(partition) = self.active(number) else {
                continue;
            };
            partition.advance(&mut room);
            // If it took the rest of the room, the next partition has the next turn.
            self.round_robin.endings = number + 1;
        }
    }

    /// Takes what each partition has to write.
    pub(super) fn flush(&mut self, elapsed: Timestamp) -> Vec<PartitionBatch> {
        let mut room = self.limits.stores;
        let mut batches = Vec::new();
        for number in self.starting_with(self.round_robin.rewrites) {
            let Some(Assigned::Live(partition)) = self.partitions.get_mut(&number) else {
                continue;
            };
            if room > 0 {
                self.round_robin.rewrites = number + 1;
            }
            batches.extend(partition.flush(elapsed, &mut room));
        }
        batches
    }

    /// Returns all partitions in order, `first` and its successors before the others.
    fn starting_with(&self, first: i32) -> Vec<i32> {
        let (from, before) = (
            self.partitions.range(first..),
            self.partitions.range(..first),
        );
        from.chain(before).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests;
