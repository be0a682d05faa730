//! The handler's membership in its consumer group.
//!
//! librdkafka tells of a change inside `poll` and then waits until the application has
//! said (un)assign. So the callback only notes the change, and the loop acts on it right
//! after `poll`, where it may take the time to finish what is under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, TopicPartitionList};

/// A change of what this process owns.
#[derive(Clone, Debug)]
pub enum Change {
    /// These partitions come.
    Assign(TopicPartitionList),
    /// These partitions go.
    Revoke {
        /// Which.
        partitions: TopicPartitionList,
        /// They belong to others already: nothing of them may be committed.
        lost: bool,
    },
}

/// What the callbacks note.
#[derive(Debug, Default)]
pub struct Group {
    changes: Mutex<VecDeque<Change>>,
    closing: AtomicBool,
    commit_failed: AtomicBool,
}

/// Makes the configuration of a consumer of terminal events of the one that every client
/// starts from. What keeps the promises is fixed; the rest yields to what was asked for.
#[must_use]
pub fn config(mut config: ClientConfig, group: &str) -> ClientConfig {
    config
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    let mut defaults = vec![
        ("auto.offset.reset", "earliest"),
        // Bounds what is prefetched; the default is 64 MiB.
        ("queued.max.messages.kbytes", "8192"),
    ];
    // The broker decides these in the newer protocol, and the client refuses them.
    if config.get("group.protocol") != Some("consumer") {
        defaults.push(("partition.assignment.strategy", "cooperative-sticky"));
        defaults.push(("session.timeout.ms", "10000"));
    }
    for (key, value) in defaults {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    config
}

impl Group {
    /// The next change to act on.
    pub fn next_change(&self) -> Option<Change> {
        self.changes().pop_front()
    }

    /// Whether a commit has failed since the last question.
    pub fn commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    /// Nobody acts on changes any more: let go of partitions as they are revoked.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn changes(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Group {}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let let_go = if assigned {
                Ok(())
            } else {
                unassign(consumer, partitions)
            };
            if let Err(error) = let_go {
                tracing::warn!(%error, "partitions cannot be given back");
            }
            return;
        }
        let partitions = partitions.clone();
        self.changes().push_back(if assigned {
            Change::Assign(partitions)
        } else {
            let lost = consumer.assignment_lost();
            Change::Revoke { partitions, lost }
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "a commit failed; it will be repeated");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}

/// Takes partitions.
///
/// # Errors
/// If librdkafka refuses them.
pub fn assign(consumer: &BaseConsumer<Group>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

/// Gives partitions back.
///
/// # Errors
/// If librdkafka does not have them.
pub fn unassign(
    consumer: &BaseConsumer<Group>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}
