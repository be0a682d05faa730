//! Writes session events to their topic.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::errors::WithHint;
use crate::clock::Clock;
use crate::session::{EventKind, Span, Subject};
use crate::wire::event::{DecodeError, DecodeLimits, decode};
use crate::wire::forwarded::Forwarded;

/// Bounds the delivery of a record, retries included. Longer than a broker restart or a
/// leader election.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds the first metadata request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds the records in flight.
const MAX_IN_FLIGHT: u32 = 100_000;
/// Bounds the memory of the records in flight, in KiB.
const MAX_IN_FLIGHT_KIB: u32 = 64 * 1024;
/// Interval at which a full queue is checked for capacity.
const QUEUE_FULL_INTERVAL: Duration = Duration::from_millis(5);

/// An idempotent producer of session events that waits for all acknowledgements.
pub struct EventWriter {
    producer: BaseProducer<Deliveries>,
    topic: String,
    bootstrap: String,
    partitions: i32,
}

/// The partitions that an event is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The partition that the Java client would choose for this key.
    Key(String),
    /// Every partition: the event concerns all sessions of a user, or all that match, which may be on
    /// any of them. The copies are marked, so that trackers do not forward them.
    EveryPartition,
    /// Any partition, without a key.
    Anywhere,
}

impl Target {
    /// The target of the session event with this value. Does not check its time, which trackers
    /// compare with the record's.
    ///
    /// # Errors
    /// [`DecodeError`] if trackers could not decode it.
    pub fn of(value: &[u8]) -> Result<Self, DecodeError> {
        Self::with_kind(value).map(|(target, _)| target)
    }

    /// The same, and the kind of the event.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn with_kind(value: &[u8]) -> Result<(Self, EventKind), DecodeError> {
        let limits = DecodeLimits {
            max_event_age: Span::from_millis(i64::MAX),
            ..DecodeLimits::default()
        };
        let decoded = decode(Some(value), Some(Clock::default().wall()), &limits)?;
        let event = decoded.event();
        let target = match event.subject {
            Subject::Session { id, .. } => Self::Key(id.to_owned()),
            Subject::AllSessionsOf { .. } | Subject::Matching { .. } => Self::EveryPartition,
        };
        Ok((target, event.kind))
    }
}

/// Why events were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// librdkafka rejects the configuration.
    #[error("cannot create a Kafka client: {0}; check -X and the --tls and --sasl flags")]
    Client(KafkaError),
    /// The event exceeds the maximum record size.
    #[error(
        "the event has {0} bytes, more than the client's limit; raise it with -X message.max.bytes=N"
    )]
    TooLarge(usize),
    /// Kafka did not acknowledge events.
    #[error(
        "{count} events were not written to {topic} at {bootstrap}: {}; check that the brokers are up and that this user may write to the topic, then retry",
        WithHint(reason)
    )]
    NotWritten {
        count: u64,
        topic: String,
        bootstrap: String,
        /// The error of the first event.
        reason: Box<KafkaError>,
    },
}

impl EventWriter {
    /// Creates a writer to `topic`, which has `partitions` partitions.
    ///
    /// # Errors
    /// [`WriteError::Client`] if librdkafka rejects the configuration.
    pub fn new(mut config: ClientConfig, topic: &str, partitions: i32) -> Result<Self, WriteError> {
        let bootstrap = config
            .get("bootstrap.servers")
            .unwrap_or_default()
            .to_owned();
        for (key, value) in [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            (
                "message.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            ),
            ("queue.buffering.max.messages", MAX_IN_FLIGHT.to_string()),
            ("queue.buffering.max.kbytes", MAX_IN_FLIGHT_KIB.to_string()),
        ] {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        Ok(Self {
            producer: config
                .create_with_context(Deliveries::default())
                .map_err(WriteError::Client)?,
            topic: topic.to_owned(),
            bootstrap,
            partitions,
        })
    }

    /// Connects and fetches metadata, so that the first event does not wait for it.
    ///
    /// # Errors
    /// [`WriteError::NotWritten`] with a count of 0 if the brokers do not respond.
    pub fn connect(&self) -> Result<(), WriteError> {
        let client = self.producer.client();
        match client.fetch_metadata(Some(&self.topic), CONNECT_TIMEOUT) {
            Ok(_metadata) => Ok(()),
            Err(reason) => Err(self.not_written(0, reason)),
        }
    }

    /// Enqueues an event; blocks while the queue is full.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] if the event exceeds the maximum record size;
    /// [`WriteError::NotWritten`] if an earlier one was not acknowledged.
    pub fn send(&self, target: &Target, value: &[u8]) -> Result<(), WriteError> {
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(value);
        match target {
            Target::Key(key) => self.enqueue(record.key(key.as_bytes())),
            Target::Anywhere => self.enqueue(record),
            Target::EveryPartition => {
                let key = Forwarded::copies(self.partitions).encode();
                (0..self.partitions).try_for_each(|partition| {
                    let record = BaseRecord::to(&self.topic).payload(value);
                    self.enqueue(record.key(key.as_slice()).partition(partition))
                })
            }
        }
    }

    /// Handles acknowledgements for this long.
    pub fn wait(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// The number of acknowledged records.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.producer.context().counts().written
    }

    /// Waits until all records are acknowledged; returns their number.
    ///
    /// # Errors
    /// [`WriteError::NotWritten`] if a record is not acknowledged in time.
    pub fn flush(&self) -> Result<u64, WriteError> {
        let flushed = self.producer.flush(DELIVERY_TIMEOUT);
        self.check()?;
        flushed.map_err(|reason| {
            let count = self.producer.in_flight_count();
            self.not_written(u64::try_from(count).unwrap_or_default(), reason)
        })?;
        Ok(self.written())
    }

    fn enqueue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), WriteError> {
        loop {
            self.check()?;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    self.producer.poll(QUEUE_FULL_INTERVAL);
                }
                Err((
                    KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge),
                    refused,
                )) => {
                    let bytes = refused.payload.map_or(0, <[u8]>::len);
                    return Err(WriteError::TooLarge(bytes));
                }
                Err((reason, _)) => return Err(self.not_written(1, reason)),
            }
        }
    }

    fn check(&self) -> Result<(), WriteError> {
        match self.producer.context().counts().failed.clone() {
            Some((count, reason)) => Err(self.not_written(count, reason)),
            None => Ok(()),
        }
    }

    fn not_written(&self, count: u64, reason: KafkaError) -> WriteError {
        WriteError::NotWritten {
            count,
            topic: self.topic.clone(),
            bootstrap: self.bootstrap.clone(),
            reason: Box::new(reason),
        }
    }
}

/// Counts deliveries.
#[derive(Default)]
struct Deliveries(Mutex<DeliveryCounts>);

#[derive(Clone, Debug, Default)]
struct DeliveryCounts {
    written: u64,
    /// The number of failed deliveries and the error of the first.
    failed: Option<(u64, KafkaError)>,
}

impl Deliveries {
    fn counts(&self) -> std::sync::MutexGuard<'_, DeliveryCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = self.counts();
        match result {
            Ok(_) => counts.written += 1,
            Err((reason, _)) => {
                let (count, _) = counts.failed.get_or_insert_with(|| (0, reason.clone()));
                *count += 1;
            }
        }
    }
}
