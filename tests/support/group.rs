//! Committed offsets and lag of consumer groups.

use std::collections::BTreeMap;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::kafka::Kafka;
use super::topic::{BROKER_TIMEOUT, partitions};
use super::wait::eventually;

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub metadata: String,
}

impl Kafka {
    /// Deletes a group as soon as it has no members.
    pub fn delete_group(&self, group: &str) {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("admin client");
        eventually(BROKER_TIMEOUT, "a group without members", || {
            let deleted = block_on(admin.delete_groups(&[group], &AdminOptions::new()));
            deleted.ok()?.remove(0).ok().map(drop)
        });
    }

    /// The committed position of each partition that has one. Waits for pending transactions.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, Committed> {
        let consumer = self.group_reader(group);
        let mut asked = TopicPartitionList::new();
        for partition in partitions(&consumer, topic) {
            asked.add_partition(topic, partition);
        }
        let what = format!("the coordinator of group {group}");
        let answer = eventually(BROKER_TIMEOUT, &what, || {
            match consumer.committed_offsets(asked.clone(), BROKER_TIMEOUT) {
                Ok(answer) => Some(answer),
                // A broker that has just started is still reading its groups.
                Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::NotCoordinator
                    | RDKafkaErrorCode::CoordinatorNotAvailable
                    | RDKafkaErrorCode::CoordinatorLoadInProgress,
                )) => None,
                Err(error) => panic!("offsets of group {group}: {error}"),
            }
        });
        answer
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => {
                    let metadata = element.metadata().to_owned();
                    Some((element.partition(), Committed { offset, metadata }))
                }
                _ => None,
            })
            .collect()
    }

    /// The lag of each partition as `kafka-consumer-groups` shows it: its end, transaction markers
    /// and open transactions included, less the committed position (or the beginning).
    #[expect(
        clippy::disallowed_methods,
        reason = "independent of the code under test"
    )]
    pub fn lag(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let committed = self.committed(group, topic);
        let consumer: BaseConsumer = self
            .client()
            .set("isolation.level", "read_uncommitted")
            .create()
            .expect("consumer");
        partitions(&consumer, topic)
            .into_iter()
            .map(|partition| {
                let (beginning, end) = consumer
                    .fetch_watermarks(topic, partition, BROKER_TIMEOUT)
                    .unwrap_or_else(|error| panic!("ends of {topic} {partition}: {error}"));
                let position = committed.get(&partition).map_or(beginning, |at| at.offset);
                (partition, end - position)
            })
            .collect()
    }

    /// Commits positions of a group without members: partitions and offsets.
    pub fn commit(&self, group: &str, topic: &str, positions: &[(i32, i64)]) {
        self.commit_with_metadata(group, topic, positions, "");
    }

    /// The same, with this metadata.
    pub fn commit_with_metadata(
        &self,
        group: &str,
        topic: &str,
        positions: &[(i32, i64)],
        metadata: &str,
    ) {
        let mut committed = TopicPartitionList::new();
        for (partition, offset) in positions {
            let mut element = committed.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(*offset)).expect("offset");
            element.set_metadata(metadata);
        }
        self.group_reader(group)
            .commit(&committed, CommitMode::Sync)
            .unwrap_or_else(|error| panic!("positions of group {group}: {error}"));
    }

    /// A consumer that asks for the group's offsets without joining it.
    fn group_reader(&self, group: &str) -> BaseConsumer {
        self.client()
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .create()
            .expect("consumer")
    }
}
