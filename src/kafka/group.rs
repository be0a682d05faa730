//! Membership in a consumer group, with rebalances as values.
//!
//! librdkafka reports a rebalance in a callback and then waits until the application
//! has assigned or unassigned. The callback here only notes what has happened; the
//! loop that polls deals with it right after, when it is free to commit first.

mod eviction;
mod stall;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset};

pub use eviction::{EvictionDetector, MemberEvicted};
pub use stall::{PartitionStalled, StallDetector};

/// A consumer that is a member of a group.
pub type GroupConsumer = BaseConsumer<GroupContext>;

/// How long the consumer may take to move to another offset.
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the brokers may take to tell who leads partitions.
const METADATA_PATIENCE: Duration = Duration::from_secs(5);

/// How a consumer group rebalances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupProtocol {
    /// The group's members assign partitions, cooperatively (KIP-429).
    Classic,
    /// The brokers assign partitions (KIP-848).
    Consumer,
}

/// What makes one member of a group different from another.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The group, prefix included.
    pub group: &'a str,
    /// How it rebalances.
    pub protocol: GroupProtocol,
    /// How long it waits for a silent member; with [`GroupProtocol::Consumer`], the
    /// brokers decide.
    pub session_timeout: Duration,
    /// The most that is fetched ahead of the application, in KiB.
    pub prefetch_kib: u32,
    /// Where to begin in a partition without a committed offset: `earliest`, `error`.
    pub offset_reset: &'static str,
}

/// The configuration of a member of a group. `client` says how to reach Kafka, and what
/// the user has set with -X, which wins wherever that is safe.
#[must_use]
pub fn member_config(client: &ClientConfig, member: &Membership<'_>) -> ClientConfig {
    let timeout = member.session_timeout.as_millis();
    let mut defaults = vec![
        ("group.id", member.group.to_owned()),
        (
            "queued.max.messages.kbytes",
            member.prefetch_kib.to_string(),
        ),
        // How long fetching pauses at that bound. By default a second, in which the
        // application would have worked off what there is several times over.
        ("fetch.queue.backoff.ms", "10".to_owned()),
        // By default a minute: for so long nothing comes of a broker that has vanished without
        // closing its connections. As much as the Java client has (`request.timeout.ms`).
        ("socket.timeout.ms", "30000".to_owned()),
        // By default five minutes: for so long a permission that was missing would be missed.
        ("topic.metadata.refresh.interval.ms", "15000".to_owned()),
    ];
    let by_brokers = client.get("group.protocol") == Some("consumer");
    if member.protocol == GroupProtocol::Consumer || by_brokers {
        defaults.push(("group.protocol", "consumer".to_owned()));
    } else {
        defaults.extend([
            (
                "partition.assignment.strategy",
                "cooperative-sticky".to_owned(),
            ),
            ("session.timeout.ms", timeout.to_string()),
            ("heartbeat.interval.ms", (timeout / 5).max(100).to_string()),
        ]);
    }
    // Not the other way round: what a configuration lists of itself has no passwords.
    let mut config = client.clone();
    for (key, value) in defaults {
        if client.get(key).is_none() {
            config.set(key, value);
        }
    }
    config
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", member.offset_reset);
    config
}

/// What a rebalance does. Each has to be answered with [`assign`] or [`unassign`].
#[derive(Debug)]
pub enum Rebalance {
    /// The group has given partitions.
    Assigned(TopicPartitionList),
    /// The group takes partitions away; there is time to commit.
    Revoked(TopicPartitionList),
    /// The group has given the partitions to others already: too late to commit.
    Lost(TopicPartitionList),
}

/// Notes rebalances for the loop that polls.
#[derive(Debug, Default)]
pub struct GroupContext {
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
    commit_failed: AtomicBool,
}

impl GroupContext {
    /// The oldest rebalance that has not been dealt with. Ask after every poll.
    pub fn next_rebalance(&self) -> Option<Rebalance> {
        self.queue().pop_front()
    }

    /// Whether an asynchronous commit has failed since this was last asked.
    pub fn commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    /// From now on the callback answers by itself, for nobody polls any more: call it
    /// before the consumer is dropped, once everything has been committed.
    pub fn close(&self) {
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
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // What comes that late has to be answered too: librdkafka waits for it. It takes
            // an assignment for none while it is leaving.
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
        self.queue().push_back(if assigned {
            Rebalance::Assigned(partitions.clone())
        } else if consumer.assignment_lost() {
            Rebalance::Lost(partitions.clone())
        } else {
            Rebalance::Revoked(partitions.clone())
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "a commit failed");
            self.commit_failed.store(true, Ordering::Relaxed);
        }
    }
}

/// Takes over the partitions of a [`Rebalance::Assigned`].
///
/// # Errors
/// If librdkafka refuses.
pub fn assign(consumer: &GroupConsumer, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

/// Gives back the partitions of a [`Rebalance::Revoked`] or [`Rebalance::Lost`].
///
/// # Errors
/// If librdkafka refuses.
pub fn unassign(consumer: &GroupConsumer, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

/// Has the consumer read a partition that it owns from `offset` on, whether or not it was
/// paused.
///
/// # Errors
/// If librdkafka refuses.
pub fn read_from(
    consumer: &GroupConsumer,
    topic: &str,
    partition: i32,
    offset: i64,
) -> KafkaResult<()> {
    let offset = Offset::Offset(offset);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, offset)?;
    let sought = consumer.seek(topic, partition, offset, SEEK_PATIENCE);
    if sought.is_err() {
        // It has not begun to be fetched yet, or came to a halt when its position was
        // deleted under it. To be assigned again sets it going from either.
        let RebalanceProtocol::Cooperative = consumer.rebalance_protocol() else {
            return sought;
        };
        assign_again(consumer, &list)?;
    }
    consumer.resume(&list)
}

/// Has the consumer begin once more, at these offsets, with partitions that it owns and is
/// reading, and of which nothing more comes.
///
/// # Errors
/// If librdkafka refuses, or the brokers do not tell who leads the partitions.
pub fn refetch(consumer: &GroupConsumer, topic: &str, positions: &[(i32, i64)]) -> KafkaResult<()> {
    // Where their leaders are has to be heard again before they are looked for there.
    consumer.fetch_metadata(Some(topic), METADATA_PATIENCE)?;
    let RebalanceProtocol::Cooperative = consumer.rebalance_protocol() else {
        let mut positions = positions.iter();
        return positions
            .try_for_each(|&(partition, offset)| read_from(consumer, topic, partition, offset));
    };
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in positions {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    }
    assign_again(consumer, &list)?;
    consumer.resume(&list)
}

fn assign_again(consumer: &GroupConsumer, list: &TopicPartitionList) -> KafkaResult<()> {
    consumer.incremental_unassign(list)?;
    consumer.incremental_assign(list)
}
