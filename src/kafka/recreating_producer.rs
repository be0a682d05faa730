//! Clients that are replaced after a time-out.
//!
//! librdkafka can lose a partition for good. If brokers briefly report that it has no leader, as
//! they do of a broker that their controller has fenced, librdkafka does not look for the leader
//! again, and every record for the partition times out however healthy the brokers are
//! (`confluentinc/librdkafka#5430`: seen with 2.12.1, open as of 2.14.1). A new client finds the
//! leader. So a process that writes for as long as it lives takes a new producer after a record
//! timed out:
//!
//! - [`RecreatingProducer`] for single records, each of them awaited;
//! - the writer of process reports, which does not wait for acknowledgements;
//! - the tracker's transactional producer, which has to take over its transactional id again.
//!
//! Clients that only ask are replaced after [`MAX_SILENCE`] without an answer: see
//! [`recreating_client`](super::recreating_client).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::clock::Clock;

/// How long the requests of a client may fail before it is replaced.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);

/// Measures how long a client has had no answer.
#[derive(Debug)]
pub struct SilenceTimer {
    clock: Clock,
    since: Duration,
}

impl SilenceTimer {
    #[must_use]
    pub fn start(clock: Clock) -> Self {
        let since = clock.elapsed();
        Self { clock, since }
    }

    /// Records the result of a request, and returns whether the client has to be replaced: once
    /// for each [`MAX_SILENCE`] without an answer. Brokers that refuse a request have answered.
    pub fn must_recreate<T>(&mut self, result: &KafkaResult<T>) -> bool {
        let now = self.clock.elapsed();
        let silent = result.as_ref().is_err_and(is_silence);
        let over = silent && now.saturating_sub(self.since) >= MAX_SILENCE;
        if over || !silent {
            self.since = now;
        }
        over
    }
}

/// Returns whether no broker has answered.
#[must_use]
pub fn is_silence(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::TimedOutQueue
        )
    )
}

/// Returns whether a producer whose record failed like this may never write to its partition
/// again.
#[must_use]
pub fn must_recreate(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::Fatal)
    )
}

/// Replaces `client` with one that `create` makes, and returns whether that worked. Otherwise
/// the old client stays, and its next failure tries again.
pub fn recreate<C>(client: &mut C, create: impl FnOnce() -> KafkaResult<C>) -> bool {
    match create() {
        Ok(created) => {
            *client = created;
            true
        }
        Err(error) => {
            tracing::error!(%error, "cannot create a new Kafka client; keeping the old one");
            false
        }
    }
}

/// A producer of single records that is replaced after a record timed out.
pub struct RecreatingProducer {
    config: ClientConfig,
    current: Mutex<Numbered>,
}

#[derive(Clone)]
struct Numbered {
    /// Counts the producers, so that each is replaced once, however many of its records fail.
    number: u64,
    producer: FutureProducer,
}

impl RecreatingProducer {
    /// Creates a producer with this configuration.
    ///
    /// # Errors
    /// If librdkafka does not accept it.
    pub fn new(config: ClientConfig) -> KafkaResult<Self> {
        let producer = config.create()?;
        Ok(Self {
            config,
            current: Mutex::new(Numbered {
                number: 0,
                producer,
            }),
        })
    }

    /// Writes a record and waits for its acknowledgement. If the queue is full, waits up to
    /// `queue_timeout` for room in it.
    ///
    /// # Errors
    /// If the brokers refuse the record, or do not acknowledge it within its delivery timeout.
    pub async fn send<K, P>(
        &self,
        record: FutureRecord<'_, K, P>,
        queue_timeout: Duration,
    ) -> KafkaResult<Delivery>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let Numbered { number, producer } = self.current().clone();
        let sent = producer.send(record, queue_timeout).await;
        sent.map_err(|(error, _)| {
            if must_recreate(&error) {
                self.replace(number);
            }
            error
        })
    }

    /// Replaces the producer of this number unless that has happened.
    fn replace(&self, number: u64) {
        let mut current = self.current();
        if current.number == number && recreate(&mut current.producer, || self.config.create()) {
            current.number += 1;
        }
    }

    fn current(&self) -> MutexGuard<'_, Numbered> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
