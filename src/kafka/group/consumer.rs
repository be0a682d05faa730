//! A consumer of one topic in a group.

use std::fmt;
use std::time::Duration;

use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::{ClientConfig, Offset};

use super::context::{self, GroupContext, Rebalance};
use crate::kafka::errors::WithHint;

/// Bounds a request for committed offsets.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a seek may take.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a metadata request may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// A consumer of one topic, as a member of a group.
pub struct GroupConsumer {
    consumer: BaseConsumer<GroupContext>,
    topic: String,
}

/// librdkafka has declared the consumer dead.
#[derive(Debug, thiserror::Error)]
#[error("the consumer of {topic} failed: {source}; restart the process")]
pub struct ConsumerFailed {
    topic: String,
    source: KafkaError,
}

impl GroupConsumer {
    pub(super) fn new(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        Ok(Self {
            consumer: config.create_with_context(GroupContext::default())?,
            topic: topic.to_owned(),
        })
    }

    /// Joins the group.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn subscribe(&self) -> KafkaResult<()> {
        self.consumer.subscribe(&[&self.topic])
    }

    /// Asks a broker for the topic, by the connections that records come through.
    pub(super) fn ask(&self, timeout: Duration) -> KafkaResult<()> {
        let answer = self.consumer.fetch_metadata(Some(&self.topic), timeout);
        answer.map(drop)
    }

    /// Returns the next record, waiting for one up to `timeout`.
    pub fn poll(&self, timeout: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.consumer.poll(timeout)
    }

    /// Logs an error of [`poll`](Self::poll) from which librdkafka recovers by itself.
    ///
    /// # Errors
    /// [`ConsumerFailed`] if it does not.
    pub fn check(&self, error: KafkaError) -> Result<(), ConsumerFailed> {
        let topic = &self.topic;
        match error {
            KafkaError::MessageConsumptionFatal(_) => {
                return Err(ConsumerFailed {
                    topic: topic.clone(),
                    source: error,
                });
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                tracing::warn!(
                    topic,
                    "the topic does not exist; create it with: sundown topics create"
                );
            }
            error => {
                tracing::warn!(topic, error = %WithHint(&error), "consuming failed; retrying");
            }
        }
        Ok(())
    }

    /// Takes over the partitions of a [`Rebalance::Assigned`] from their committed offsets. A
    /// pause of an earlier assignment does not outlive it.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn assign(&self, partitions: &[i32]) -> KafkaResult<()> {
        let list = self.list(partitions);
        context::assign(&self.consumer, &list)?;
        if partitions.is_empty() {
            return Ok(());
        }
        self.consumer.resume(&list)
    }

    /// Takes over the partitions of a [`Rebalance::Assigned`] without fetching from them;
    /// [`seek`](Self::seek) starts that.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn assign_paused(&self, partitions: &[i32]) -> KafkaResult<()> {
        let mut list = self.list(partitions);
        // Without an offset, librdkafka would look for a committed one and might find none.
        list.set_all_offsets(Offset::Beginning)?;
        context::assign(&self.consumer, &list)?;
        self.consumer.pause(&list)
    }

    /// Takes the partitions of a [`Rebalance::Assigned`], and fetches them from these offsets on.
    /// A pause of an earlier assignment does not outlive it.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn assign_from(&self, positions: &[(i32, i64)]) -> KafkaResult<()> {
        let list = self.offsets(positions)?;
        context::assign(&self.consumer, &list)?;
        if positions.is_empty() {
            return Ok(());
        }
        self.consumer.resume(&list)
    }

    /// Gives back the partitions of a [`Rebalance::Revoked`] or [`Rebalance::Lost`].
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn unassign(&self, partitions: &[i32]) -> KafkaResult<()> {
        context::unassign(&self.consumer, &self.list(partitions))
    }

    /// Stops fetching from partitions. Records that were fetched before may still arrive.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn pause(&self, partitions: &[i32]) -> KafkaResult<()> {
        self.consumer.pause(&self.list(partitions))
    }

    /// Fetches from partitions again, from the position of each.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn resume(&self, partitions: &[i32]) -> KafkaResult<()> {
        self.consumer.resume(&self.list(partitions))
    }

    /// Fetches from an assigned partition at `offset` on, whether or not it was paused.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn seek(&self, partition: i32, offset: i64) -> KafkaResult<()> {
        let list = self.offsets(&[(partition, offset)])?;
        let offset = Offset::Offset(offset);
        let sought = self
            .consumer
            .seek(&self.topic, partition, offset, SEEK_TIMEOUT);
        if sought.is_err() {
            // Fetching has not begun yet, or stopped because retention deleted the position.
            // A new assignment starts it in either case.
            let RebalanceProtocol::Cooperative = self.consumer.rebalance_protocol() else {
                return sought;
            };
            self.reassign(&list)?;
        }
        self.consumer.resume(&list)
    }

    /// Restarts fetching from assigned partitions at these positions, after librdkafka has
    /// stopped fetching from them.
    ///
    /// # Errors
    /// If librdkafka refuses, or no broker answers for the partitions' leaders.
    pub fn refetch(&self, positions: &[(i32, i64)]) -> KafkaResult<()> {
        // The new assignment goes to the leaders that librdkafka knows, so these come first.
        self.consumer
            .fetch_metadata(Some(&self.topic), METADATA_TIMEOUT)?;
        let RebalanceProtocol::Cooperative = self.consumer.rebalance_protocol() else {
            let mut positions = positions.iter();
            return positions.try_for_each(|&(partition, offset)| self.seek(partition, offset));
        };
        let list = self.offsets(positions)?;
        self.reassign(&list)?;
        self.consumer.resume(&list)
    }

    /// Returns the partitions from which records have been read or sought, with the position
    /// in each; none if librdkafka does not know them.
    #[must_use]
    pub fn positions(&self) -> Vec<(i32, i64)> {
        let list = match self.consumer.position() {
            Ok(list) => list,
            Err(error) => {
                tracing::debug!(%error, "positions are unknown");
                return Vec::new();
            }
        };
        let elements = list.elements();
        let known = elements
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            });
        known.collect()
    }

    /// Fetches the committed offsets of partitions. Those without one are left out.
    ///
    /// # Errors
    /// If the brokers do not respond in time.
    pub fn committed(&self, partitions: &[i32]) -> KafkaResult<Vec<(i32, i64)>> {
        let list = self.list(partitions);
        let committed = self.consumer.committed_offsets(list, COMMITTED_TIMEOUT)?;
        let elements = committed.elements();
        let known = elements
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            });
        Ok(known.collect())
    }

    /// Commits an offset for each of these partitions.
    ///
    /// # Errors
    /// If librdkafka refuses or, with [`CommitMode::Sync`], the brokers do not accept them.
    pub fn commit_offsets(&self, offsets: &[(i32, i64)], mode: CommitMode) -> KafkaResult<()> {
        self.commit(&self.offsets(offsets)?, mode)
    }

    /// Commits offsets, with their metadata.
    ///
    /// # Errors
    /// If librdkafka refuses or, with [`CommitMode::Sync`], the brokers do not accept them.
    pub fn commit(&self, offsets: &TopicPartitionList, mode: CommitMode) -> KafkaResult<()> {
        self.consumer.commit(offsets, mode)
    }

    /// Returns whether an asynchronous commit has failed since the last call.
    #[must_use]
    pub fn take_commit_failed(&self) -> bool {
        self.consumer.context().take_commit_failed()
    }

    /// Returns the member's id and generation for a transaction's offsets; none while it is in
    /// no group.
    #[must_use]
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.consumer.context().next_rebalance()
    }

    pub(super) fn close(&self) {
        self.consumer.context().close();
    }

    fn reassign(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.incremental_unassign(list)?;
        self.consumer.incremental_assign(list)
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        list
    }

    fn offsets(&self, offsets: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in offsets {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        Ok(list)
    }
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
