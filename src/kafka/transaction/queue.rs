//! The producer's queue: sends records and waits for their acknowledgements.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::commit_error::CommitError;
use super::record::ProducerRecord;
use crate::session::Timestamp;

/// How long the brokers wait for a silent producer before they abort its transaction. Until then
/// every reader of committed records waits too.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds a request for metadata; it is shorter than the transaction's.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a full or draining queue is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

pub(super) type BatchProducer = ThreadedProducer<Failures>;

/// Counts the records that could not be written.
#[derive(Default)]
pub(super) struct Failures(Mutex<FailureCounts>);

#[derive(Default)]
struct FailureCounts {
    all: u64,
    too_large: u64,
    /// In the order of their first failures.
    topics: Vec<String>,
    /// The error of the first one.
    first: Option<KafkaError>,
}

impl Failures {
    pub(super) fn forget(&self) {
        *self.counters() = FailureCounts::default();
    }

    fn count(&self, topic: &str, error: &KafkaError) {
        let mut counters = self.counters();
        counters.all += 1;
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            counters.too_large += 1;
        }
        if !counters.topics.iter().any(|failed| failed == topic) {
            counters.topics.push(topic.to_owned());
        }
        counters.first.get_or_insert_with(|| error.clone());
    }

    fn take(&self) -> Result<(), CommitError> {
        let counters = std::mem::take(&mut *self.counters());
        match (counters.first, counters.too_large) {
            (None, _) => Ok(()),
            (Some(reason), 0) => Err(CommitError::Unwritten {
                count: counters.all,
                topics: counters.topics,
                reason,
            }),
            (Some(_), too_large) => Err(CommitError::TooLarge(too_large)),
        }
    }

    fn counters(&self) -> MutexGuard<'_, FailureCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            self.count(record.topic(), error);
        }
    }
}

/// Queues a record, waiting while the queue is full. A partition that the producer does not know may
/// have been added since it last asked for metadata, which it does every five minutes: it asks again.
pub(super) fn send(
    producer: &BatchProducer,
    record: ProducerRecord<'_>,
) -> Result<(), CommitError> {
    let mut unsent = BaseRecord::to(record.topic);
    unsent.key = record.key;
    unsent.payload = record.value;
    unsent.partition = record.partition;
    unsent.headers = record.headers;
    unsent.timestamp = record.timestamp.map(Timestamp::as_millis);
    let mut has_asked = false;
    // The message timeout bounds the loop: it empties the queue if the brokers do not.
    loop {
        match producer.send(unsent) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                unsent = returned;
                thread::sleep(POLL_INTERVAL);
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition), returned))
                if !has_asked =>
            {
                unsent = returned;
                has_asked = true;
                // If this fails, so does the record.
                let _metadata = producer
                    .client()
                    .fetch_metadata(Some(record.topic), METADATA_TIMEOUT);
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                return Err(CommitError::TooLarge(1));
            }
            // The brokers have refused the transaction: why is in what becomes of its records.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::State), _)) => {
                drain(producer)?;
                return Err(CommitError::Kafka {
                    step: "write a record",
                    source: KafkaError::MessageProduction(RDKafkaErrorCode::State),
                });
            }
            Err((source, _)) => {
                return Err(CommitError::Kafka {
                    step: "write a record",
                    source,
                });
            }
        }
    }
}

/// Waits until every queued record has been acknowledged or has failed. rdkafka's own flush polls
/// every 100 ms, which would be most of a commit.
pub(super) fn drain(producer: &BatchProducer) -> Result<(), CommitError> {
    let mut rounds = TRANSACTION_TIMEOUT.as_millis() * 2 / POLL_INTERVAL.as_millis();
    while producer.in_flight_count() > 0 {
        if rounds == 0 {
            return Err(CommitError::Unacknowledged(producer.in_flight_count()));
        }
        rounds -= 1;
        thread::sleep(POLL_INTERVAL);
    }
    producer.context().take()
}
