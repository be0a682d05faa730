//! The producer's queue: records go in, and are waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::{CommitError, Step, TRANSACTION_TIMEOUT};
use crate::tracker::outbox::Outgoing;

/// How long to wait before looking again whether the queue has emptied.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) type BatchProducer = ThreadedProducer<Failures>;

/// Counts the records that could not be written.
#[derive(Default)]
pub(super) struct Failures {
    all: AtomicU64,
    too_large: AtomicU64,
}

impl Failures {
    pub(super) fn forget(&self) {
        self.all.store(0, Ordering::Relaxed);
        self.too_large.store(0, Ordering::Relaxed);
    }

    fn count(&self, error: &KafkaError) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            self.too_large.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Step<()> {
        let all = self.all.swap(0, Ordering::Relaxed);
        match (all, self.too_large.swap(0, Ordering::Relaxed)) {
            (0, _) => Ok(()),
            (_, 0) => Err(CommitError::Unwritten(all)),
            (_, too_large) => Err(CommitError::TooLarge(too_large)),
        }
    }
}

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.count(error);
        }
    }
}

/// Queues a record, waiting while the queue is full.
pub(super) fn send(producer: &BatchProducer, outgoing: Outgoing<'_>) -> Step<()> {
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
