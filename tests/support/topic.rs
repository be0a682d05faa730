//! Creates and reads topics.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::kafka::Kafka;
use super::wait::{Deadline, eventually};

/// All topics of an installation, without its prefix.
pub const TOPICS: [&str; 10] = [
    "session_logs",
    "session_logs.dlq",
    "expired_sessions",
    "expired_sessions.dlq",
    "expiring_sessions",
    "sundown.checkpoint",
    "sundown.policies",
    "sundown.processes",
    "sundown.watermarks",
    "sundown.audit",
];

/// For anything the broker is asked: it may be restarting, or the machine busy.
pub const BROKER_TIMEOUT: Duration = Duration::from_secs(60);

/// A record to be written. Start from [`NewRecord::new`] and override fields.
#[derive(Clone, Debug, Default)]
pub struct NewRecord {
    /// Without one, the key's murmur2 hash chooses, as with the Java client.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Epoch milliseconds; the client's clock when absent.
    pub timestamp: Option<i64>,
}

impl NewRecord {
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: Some(key.into()),
            value: Some(value.into()),
            ..Self::default()
        }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Epoch milliseconds.
    pub timestamp: i64,
}

impl Record {
    /// Whether a tracker wrote this copy of a session's event, which was on another partition.
    pub fn is_forwarded_event_of_session(&self) -> bool {
        let is_forwarded = self.key.as_ref().is_some_and(|key| key.first() == Some(&0));
        is_forwarded && self.json()["session_id"].is_string()
    }

    /// Partition, offset, timestamp and value, for messages.
    pub fn line(&self) -> String {
        let value = String::from_utf8_lossy(self.value.as_deref().unwrap_or_default());
        let Self {
            partition,
            offset,
            timestamp,
            ..
        } = self;
        format!("{partition}/{offset} @{timestamp} {value}")
    }

    /// The value as JSON; panics when it is not.
    pub fn json(&self) -> serde_json::Value {
        let value = self.value.as_deref().expect("the record has a value");
        serde_json::from_slice(value).unwrap_or_else(|error| {
            panic!("not JSON ({error}): {}", String::from_utf8_lossy(value))
        })
    }

    /// The first header of that name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        Some(str::from_utf8(value).expect("the header is UTF-8"))
    }
}

/// What a reader sees of transactions.
#[derive(Clone, Copy, Debug)]
pub enum Isolation {
    /// Only committed records, up to the first open transaction. Records of a transaction show up
    /// a moment after its commit has returned.
    ReadCommitted,
    /// All records, those of open and aborted transactions included.
    ReadUncommitted,
}

impl Isolation {
    fn level(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        }
    }
}

impl Kafka {
    /// Creates a topic, replicated as the cluster's default says, and waits until it can be used.
    pub fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("admin client");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(BROKER_TIMEOUT));
        let results = futures_executor::block_on(admin.create_topics([&topic], &options))
            .unwrap_or_else(|error| panic!("topic {name} cannot be created: {error}"));
        for result in results {
            result.unwrap_or_else(|(name, code)| panic!("topic {name} was not created: {code}"));
        }
        // The controller has agreed; brokers hear of it a little later.
        eventually(BROKER_TIMEOUT, &format!("topic {name}"), || {
            let metadata = admin.inner().fetch_metadata(None, BROKER_TIMEOUT).ok()?;
            let mut topics = metadata.topics().iter();
            let found = topics.find(|topic| topic.name() == name)?;
            (found.partitions().len() == usize::try_from(partitions).ok()?).then_some(())
        });
    }

    /// Deletes a topic, and waits until brokers no longer know it.
    pub fn delete_topic(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("admin client");
        let deleted = admin.delete_topics(&[name], &AdminOptions::new());
        let mut results = futures_executor::block_on(deleted)
            .unwrap_or_else(|error| panic!("topic {name} cannot be deleted: {error}"));
        results.remove(0).expect("the topic is deleted");
        eventually(BROKER_TIMEOUT, &format!("the end of topic {name}"), || {
            let metadata = admin.inner().fetch_metadata(None, BROKER_TIMEOUT).ok()?;
            let mut topics = metadata.topics().iter();
            topics.all(|topic| topic.name() != name).then_some(())
        });
    }

    /// Sets one property of a topic.
    pub fn alter_topic(&self, name: &str, key: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("admin client");
        let config = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let altered = admin.alter_configs([&config], &AdminOptions::new());
        let results = futures_executor::block_on(altered)
            .unwrap_or_else(|error| panic!("topic {name} cannot be altered: {error}"));
        for result in results {
            result.unwrap_or_else(|(_, code)| panic!("topic {name} was not altered: {code}"));
        }
    }

    /// Deletes all records that are in a topic, as retention would.
    pub fn delete_records(&self, name: &str) {
        let consumer: BaseConsumer = self.client().create().expect("consumer");
        let mut ends = TopicPartitionList::new();
        for partition in partitions(&consumer, name) {
            ends.add_partition_offset(name, partition, Offset::End)
                .expect("offset");
        }
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("admin client");
        let deleted = admin.delete_records(&ends, &AdminOptions::new());
        let deleted = futures_executor::block_on(deleted)
            .unwrap_or_else(|error| panic!("records of {name} cannot be deleted: {error}"));
        for element in deleted.elements() {
            element.error().expect("the records are deleted");
        }
    }

    /// Reads a topic from its beginning to its present end; by partition, then offset. Writers
    /// may be active.
    #[expect(
        clippy::disallowed_methods,
        reason = "independent of the code under test"
    )]
    pub fn read(&self, topic: &str, isolation: Isolation) -> Vec<Record> {
        let consumer: BaseConsumer = self
            .client()
            // Never joined: assigned partitions only need a name for the reader.
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation.level())
            .create()
            .expect("consumer");
        // Where each partition ends that has not been read so far.
        let mut open = BTreeMap::new();
        let mut assignment = TopicPartitionList::new();
        for partition in partitions(&consumer, topic) {
            // Until the broker that answers knows that it leads a new partition, it refuses.
            let what = format!("the end of {topic} {partition}");
            let end = eventually(BROKER_TIMEOUT, &what, || {
                let ends = consumer.fetch_watermarks(topic, partition, BROKER_TIMEOUT);
                ends.ok().map(|(_, end)| end)
            });
            open.insert(partition, end);
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("offset");
        }
        consumer.assign(&assignment).expect("assignment");

        let mut records = Vec::new();
        let mut last_error = None;
        let deadline = Deadline::after(BROKER_TIMEOUT);
        while !open.is_empty() {
            let Some(left) = deadline.left() else {
                panic!("the end of {topic} was not reached; last error: {last_error:?}");
            };
            match consumer.poll(left) {
                Some(Ok(message)) => {
                    let end = open.get(&message.partition()).copied().unwrap_or_default();
                    if message.offset() < end {
                        records.push(owned(&message));
                    }
                    if message.offset() + 1 >= end {
                        open.remove(&message.partition());
                    }
                }
                // Behind the last record there may be transaction markers.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => last_error = Some(error),
                None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

/// The partitions of a topic.
///
/// # Panics
/// When there is no such topic.
pub fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer
        .fetch_metadata(Some(topic), BROKER_TIMEOUT)
        .expect("metadata");
    let [topic] = metadata.topics() else {
        panic!("metadata of {topic} alone")
    };
    assert_eq!(topic.error(), None, "topic {}", topic.name());
    topic
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect()
}

fn owned(message: &impl Message) -> Record {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| {
                (
                    header.key.to_owned(),
                    header.value.unwrap_or_default().to_vec(),
                )
            })
            .collect(),
        timestamp: message
            .timestamp()
            .to_millis()
            .expect("the record has a timestamp"),
    }
}
