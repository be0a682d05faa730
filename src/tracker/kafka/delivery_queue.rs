//! The producer's queue: records go in, and are waited for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::commit_error::{CommitError, Step};
use crate::tracker::outbox::ProducerRecord;

/// How long to wait before looking again whether the queue has emptied.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) type BatchProducer = ThreadedProducer<Failures>;

/// Counts the records that could not be written.
#[derive(Default)]
pub(super) struct Failures(Mutex<FailureCounts>);

#[derive(Default)]
struct FailureCounts {
    all: u64,
    too_large: u64,
    /// Where the first of them should have gone, and why it has not.
    first: Option<(String, KafkaError)>,
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
        let first = || (topic.to_owned(), error.clone());
        counters.first.get_or_insert_with(first);
    }

    fn take(&self) -> Step<()> {
        let counters = std::mem::take(&mut *self.counters());
        match (counters.first, counters.too_large) {
            (None, _) => Ok(()),
            (Some((topic, reason)), 0) => Err(CommitError::Unwritten {
                count: counters.all,
                topic,
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

/// Queues a record, waiting while the queue is full.
pub(super) fn send(producer: &BatchProducer, outgoing: ProducerRecord<'_>) -> Step<()> {
    let mut record = BaseRecord::to(outgoing.topic);
    record.key = outgoing.key;
    record.payload = outgoing.value;
    record.partition = outgoing.partition;
    record.headers = outgoing.headers;
    // Bounded by the message timeout, which empties the queue if nothing else does.
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                thread::sleep(PAUSE);
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                return Err(CommitError::TooLarge(1));
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

/// Waits until every queued record has been acknowledged or has failed. (The
/// library's own flush looks only every 100 ms, which would be most of a commit.)
pub(super) fn drain(producer: &BatchProducer) -> Step<()> {
    let mut rounds = TRANSACTION_TIMEOUT.as_millis() * 2 / PAUSE.as_millis();
    while producer.in_flight_count() > 0 {
        if rounds == 0 {
            return Err(CommitError::Unacknowledged(producer.in_flight_count()));
        }
        rounds -= 1;
        thread::sleep(PAUSE);
    }
    producer.context().take()
}

/// How long the brokers wait for a silent producer before they abort its transaction.
/// Until then every reader of committed records waits with it.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
