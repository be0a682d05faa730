//! How partitions share a transaction.
//!
//! A transaction is bounded whatever the number of partitions: until it has committed,
//! nobody can read what is in it, and what has been read since waits for the next one.
//! Where there is not room for everybody, partitions take turns. Each takes all that is left,
//! so that a transaction touches few of them: what it costs the brokers, it costs a partition.

use super::{Assigned, Engine, Partition, PartitionBatch};
use crate::session::Timestamp;

impl Engine {
    /// Whether the next transaction has advance_position a bound. Events may have led it beyond.
    pub(super) fn is_bounded(&self) -> bool {
        let pending_stores: usize = self.live().map(Partition::pending_stores).sum();
        self.room() == 0 || pending_stores >= self.bounds.stores
    }

    /// How many more outputs the next transaction takes.
    fn room(&self) -> usize {
        let outputs: usize = self.live().map(Partition::outputs).sum();
        self.bounds.outputs.saturating_sub(outputs)
    }

    /// Ends what is proven to be over.
    pub(super) fn advance(&mut self) {
        let mut room = self.room();
        for number in self.from(self.turns.endings) {
            if room == 0 {
                return;
            }
            let Some(partition) = self.active(number) else {
                continue;
            };
            partition.advance(&mut room);
            // If it took the last, the next turn is another's.
            self.turns.endings = number + 1;
        }
    }

    /// What each partition has to write.
    pub(super) fn flush(&mut self, elapsed: Timestamp) -> Vec<PartitionBatch> {
        let mut room = self.bounds.stores;
        let mut batches = Vec::new();
        for number in self.from(self.turns.rewrites) {
            let Some(Assigned::Live(partition)) = self.partitions.get_mut(&number) else {
                continue;
            };
            if room > 0 {
                self.turns.rewrites = number + 1;
            }
            batches.extend(partition.flush(elapsed, &mut room));
        }
        batches
    }

    /// All partitions, beginning with this one.
    fn from(&self, first: i32) -> Vec<i32> {
        let (from, before) = (
            self.partitions.range(first..),
            self.partitions.range(..first),
        );
        from.chain(before).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests;
