//! Writes to topics.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::kafka::Kafka;
use super::topic::{BROKER_TIMEOUT, NewRecord};

/// Writes records and waits until they are safe. Partitions by key are the Java client's.
pub struct Writer {
    producer: BaseProducer<Deliveries>,
}

impl Kafka {
    /// A writer that stays connected.
    pub fn writer(&self) -> Writer {
        Writer::new(self.client().set("enable.idempotence", "true"))
    }

    /// A writer of transactions: write between [`Writer::begin`] and [`Writer::commit`] or
    /// [`Writer::abort`]. The broker aborts those that stay open for 20 s.
    pub fn transactional_writer(&self, id: &str) -> Writer {
        let mut config = self.client();
        let config = config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", "20000")
            .set("message.timeout.ms", "20000");
        let writer = Writer::new(config);
        writer.transact("init", |producer| {
            producer.init_transactions(BROKER_TIMEOUT)
        });
        writer
    }

    /// Writes records, in order, and returns the partition and offset of each.
    pub fn produce(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Vec<(i32, i64)> {
        self.writer().write(topic, records)
    }
}

impl Writer {
    fn new(config: &mut ClientConfig) -> Self {
        config
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            // Notices added partitions.
            .set("topic.metadata.refresh.interval.ms", "5000")
            // The broker enforces the size limit.
            .set("message.max.bytes", "100000000");
        let producer = config.create_with_context(Deliveries::default());
        Self {
            producer: producer.expect("producer"),
        }
    }

    /// Writes records, in order, and returns the partition and offset of each.
    pub fn write(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Vec<(i32, i64)> {
        let mut count = 0;
        for record in records {
            self.send(topic, &record, count);
            count += 1;
        }
        self.producer
            .flush(BROKER_TIMEOUT)
            .expect("all records are delivered");
        let mut deliveries = std::mem::take(&mut *self.producer.context().0.lock().unwrap());
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

    pub fn begin(&self) {
        self.transact("begin", Producer::begin_transaction);
    }

    pub fn commit(&self) {
        self.transact("commit", |producer| {
            producer.commit_transaction(BROKER_TIMEOUT)
        });
    }

    pub fn abort(&self) {
        self.transact("abort", |producer| {
            producer.abort_transaction(BROKER_TIMEOUT)
        });
    }

    fn transact(
        &self,
        what: &str,
        call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), KafkaError>,
    ) {
        call(&self.producer).unwrap_or_else(|error| panic!("{what} a transaction: {error}"));
    }

    fn send(&self, topic: &str, record: &NewRecord, number: usize) {
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
        while let Err((error, refused)) = self.producer.send(message) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "record {number} for {topic}");
            self.producer.poll(Duration::from_millis(100));
            message = refused;
        }
    }
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
