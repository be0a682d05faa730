//! Rebalances as values.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

/// A change of a member's assignment, in partitions of its topic. Each has to be answered with
/// [`GroupConsumer::assign`](super::GroupConsumer::assign) or
/// [`GroupConsumer::unassign`](super::GroupConsumer::unassign).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// The group assigns partitions.
    Assigned(Vec<i32>),
    /// The group revokes partitions; there is time to commit.
    Revoked(Vec<i32>),
    /// The group has already assigned the partitions to other members: too late to commit.
    Lost(Vec<i32>),
}

impl Rebalance {
    /// Returns `assigned`, `revoked` or `lost`, for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Assigned(_) => "assigned",
            Self::Revoked(_) => "revoked",
            Self::Lost(_) => "lost",
        }
    }
}

/// Queues rebalances for the loop that polls.
#[derive(Debug, Default)]
pub(super) struct GroupContext {
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
    commit_failed: AtomicBool,
}

impl GroupContext {
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.queue().pop_front()
    }

    /// Returns whether an asynchronous commit has failed since the last call.
    pub(super) fn take_commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    /// From now on the callback answers rebalances itself, because the loop no longer polls.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for GroupContext {}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // librdkafka waits for this answer too. While it leaves the group, it treats an
            // assignment as empty.
            let answered = if assigned {
                assign(consumer, partitions)
            } else {
                unassign(consumer, partitions)
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "cannot answer a rebalance while leaving the group");
            }
            return;
        }
        let numbers = numbers(partitions);
        self.queue().push_back(if assigned {
            Rebalance::Assigned(numbers)
        } else if consumer.assignment_lost() {
            Rebalance::Lost(numbers)
        } else {
            Rebalance::Revoked(numbers)
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "offset commit failed");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}

pub(super) fn assign(
    consumer: &BaseConsumer<GroupContext>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

pub(super) fn unassign(
    consumer: &BaseConsumer<GroupContext>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    let elements = partitions.elements();
    elements.iter().map(|element| element.partition()).collect()
}
