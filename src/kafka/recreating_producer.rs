//! Producers that are replaced when they are worn out.
//!
//! librdkafka's can lose a partition for good: if brokers say for a moment that it has no
//! leader, as they do of a broker that their controller has fenced, its leader is not looked
//! for again, and each record for it times out however well the brokers are
//! (`confluentinc/librdkafka#5430`: seen with 2.12.1, open as of 2.14.1). Another producer
//! finds it. So whoever writes for as long as the process lives takes another one after a
//! record that timed out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// Whether a producer whose record failed like this may never write to its partition again.
#[must_use]
pub fn must_recreate(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::Fatal)
    )
}

/// A producer of single records, waited for one by one.
pub struct RecreatingProducer {
    config: ClientConfig,
    current: Mutex<Numbered>,
}

#[derive(Clone)]
struct Numbered {
    /// Counts the producers there have been, so that one is replaced once, however many of
    /// its records fail.
    number: u64,
    producer: FutureProducer,
}

impl RecreatingProducer {
    /// A producer with this configuration.
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

    /// Writes a record, and waits until the brokers have acknowledged it, or its delivery
    /// timeout has passed. Waits up to `room` before that where the queue is full.
    ///
    /// # Errors
    /// Why they have not.
    pub async fn send<K, P>(
        &self,
        record: FutureRecord<'_, K, P>,
        room: Duration,
    ) -> KafkaResult<Delivery>
    where
        K: ToBytes + ?Sized,
        P: ToBytes + ?Sized,
    {
        let Numbered { number, producer } = self.current().clone();
        let sent = producer.send(record, room).await;
        sent.map_err(|(error, _)| {
            if must_recreate(&error) {
                self.replace(number);
            }
            error
        })
    }

    fn replace(&self, must_recreate: u64) {
        let mut current = self.current();
        if current.number != must_recreate {
            return;
        }
        match self.config.create() {
            Ok(producer) => {
                *current = Numbered {
                    number: must_recreate + 1,
                    producer,
                }
            }
            // As before it: the next record that fails tries again.
            Err(error) => tracing::error!(%error, "there is no other producer"),
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Numbered> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
