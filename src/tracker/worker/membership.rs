//! What the loop does when the group gives and takes partitions.

use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::{COMMIT_PATIENCE, Worker};
use crate::kafka::group::{self, Rebalance};

impl Worker {
    /// Deals with a rebalance. The group waits for it.
    pub(super) fn rebalance(&mut self, rebalance: Rebalance) -> anyhow::Result<()> {
        let refused =
            |error| anyhow::Error::new(error).context("librdkafka refuses the group's assignment");
        match rebalance {
            Rebalance::Assigned(mut partitions) => {
                self.metrics.rebalanced("assigned");
                // Nothing is read from here, but without an offset librdkafka would look
                // for a committed one, and might find none.
                partitions
                    .set_all_offsets(Offset::Beginning)
                    .map_err(refused)?;
                let consumer = &self.parts.consumer;
                group::assign(consumer, &partitions).map_err(refused)?;
                // Nothing is read before its state is there.
                consumer.pause(&partitions).map_err(refused)?;
                for partition in numbers(&partitions) {
                    let ticket = self.engine.assign(partition);
                    self.waiting.push((partition, ticket));
                }
            }
            Rebalance::Revoked(partitions) => {
                self.metrics.rebalanced("revoked");
                self.commit_now(COMMIT_PATIENCE);
                self.give_up(&partitions);
                group::unassign(&self.parts.consumer, &partitions).map_err(refused)?;
            }
            Rebalance::Lost(partitions) => {
                self.metrics.rebalanced("lost");
                tracing::warn!(partitions = ?numbers(&partitions), "lost: the group did not hear of this member in time");
                self.give_up(&partitions);
                group::unassign(&self.parts.consumer, &partitions).map_err(refused)?;
            }
        }
        let assigned: Vec<i32> = self.engine.assigned().map(|(number, _)| number).collect();
        tracing::info!(partitions = ?assigned, "assigned");
        self.parts.ends.watch(assigned);
        self.tell_restoring();
        self.health.set_ready("group");
        self.last_report = None;
        Ok(())
    }

    /// What is in memory does not fit the log any more.
    pub(super) fn restore_everything(&mut self) {
        self.waiting = self.engine.abort();
        let mut list = TopicPartitionList::new();
        for (partition, _) in &self.waiting {
            list.add_partition(&self.settings.topics.session_logs, *partition);
        }
        if let Err(error) = self.parts.consumer.pause(&list) {
            // Records that come all the same are ignored while restoring.
            tracing::debug!(%error, "cannot pause");
        }
        self.tell_restoring();
    }

    /// Says on the admin port whether partitions are being restored.
    pub(super) fn tell_restoring(&self) {
        let restoring = self
            .engine
            .assigned()
            .filter(|(_, state)| state.is_none())
            .count();
        if restoring == 0 {
            self.health.set_ready("restore");
        } else {
            self.health.set_not_ready(
                "restore",
                format!("{restoring} partitions are being restored"),
            );
        }
    }

    fn give_up(&mut self, partitions: &TopicPartitionList) {
        for partition in numbers(partitions) {
            self.engine.revoke(partition);
            self.waiting.retain(|(waiting, _)| *waiting != partition);
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    let elements = partitions.elements();
    elements
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}
