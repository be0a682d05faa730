//! Making topics, writing to them and reading them.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::eventually::Deadline;
use crate::kafka::Kafka;

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
    }

    /// Writes records, in order, and returns the partition and offset of each.
    pub fn produce(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Vec<(i32, i64)> {
        let producer: BaseProducer<Deliveries> = self
            .client()
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            // Size is for the broker to judge.
            .set("message.max.bytes", "100000000")
            .create_with_context(Deliveries::default())
            .expect("producer");
        let mut count = 0;
        for record in records {
            send(&producer, topic, &record, count);
            count += 1;
        }
        producer
            .flush(BROKER_TIMEOUT)
            .expect("all records are delivered");
        let mut deliveries = std::mem::take(&mut *producer.context().0.lock().unwrap());
        assert_eq!(
            deliveries.len(),
            count,
            "every record has a delivery report"
        );
        deliveries.sort_unstable_by_key(|delivery| delivery.number);
        deliveries
            .into_iter()
            .map(|Delivery { number, position }| {
                position.unwrap_or_else(|error| panic!("record {number} for {topic}: {error}"))
            })
            .collect()
    }

    /// Reads a topic from its beginning to its present end; by partition, then offset.
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
        let mut open = partitions(&consumer, topic);
        let mut assignment = TopicPartitionList::new();
        for &partition in &open {
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
                Some(Ok(message)) => records.push(owned(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|&p| p != partition),
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

/// What became of each record sent, in the order of the broker's answers.
#[derive(Default)]
struct Deliveries(Mutex<Vec<Delivery>>);

struct Delivery {
    number: usize,
    position: Result<(i32, i64), KafkaError>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let position = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap().push(Delivery { number, position });
    }
}

fn send(producer: &BaseProducer<Deliveries>, topic: &str, record: &NewRecord, number: usize) {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (key, value) in &record.headers {
        headers = headers.insert(Header {
            key,
            value: Some(value),
        });
    }
    let mut message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, number);
    message.partition = record.partition;
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    message.timestamp = record.timestamp;
    message.headers = Some(headers);
    while let Err((error, refused)) = producer.send(message) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        assert_eq!(error, full, "record {number} for {topic}");
        producer.poll(Duration::from_millis(100));
        message = refused;
    }
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
