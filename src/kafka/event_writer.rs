//! Writing session events to their topic.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::errors::WithHint;
use crate::session::Subject;
use crate::wire::event::decode::{DecodeError, decode};

/// How long a record may take to be written, retries included. Longer than a broker's
/// restart or a partition's move.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// The most records on their way.
const MAX_IN_FLIGHT: u32 = 100_000;
/// The most memory that they take, in KiB.
const MAX_IN_FLIGHT_KIB: u32 = 64 * 1024;
/// How long to wait for room among them before looking again.
const ROOM: Duration = Duration::from_millis(5);

/// Writes session events: each once and in order, waited for until they are safe.
pub struct EventWriter {
    producer: BaseProducer<Deliveries>,
    topic: String,
    bootstrap: String,
    partitions: i32,
}

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the partition of this key, as the Java client would choose it.
    Key(String),
    /// To every partition, under this key: it is for every session of a user, and those
    /// may be anywhere.
    EveryPartition(String),
    /// To any partition, without a key.
    Anywhere,
}

impl Target {
    /// Where the session event with this value belongs.
    ///
    /// # Errors
    /// [`DecodeError`] if it is no session event: trackers would not understand it.
    pub fn of(value: &[u8]) -> Result<Self, DecodeError> {
        let decoded = decode(Some(value))?;
        Ok(match decoded.event().subject {
            Subject::Session { id, .. } => Self::Key(id.to_owned()),
            Subject::AllSessionsOf(user) => Self::EveryPartition(user.text.to_owned()),
        })
    }
}

/// Why events were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The client's configuration is not one that librdkafka accepts.
    #[error("the Kafka client cannot be set up: {0}; check -X and the --tls and --sasl flags")]
    Client(KafkaError),
    /// This one is larger than a record may be.
    #[error("it has {0} bytes, more than the client sends; raise it with -X message.max.bytes=N")]
    TooLarge(usize),
    /// Kafka did not take them.
    #[error(
        "{count} events were not written to {topic} at {bootstrap}: {}; check that the brokers are up and that this user may write there, then repeat them",
        WithHint(reason)
    )]
    NotWritten {
        /// How many.
        count: u64,
        /// Where they should have gone.
        topic: String,
        /// On which cluster.
        bootstrap: String,
        /// What became of the first.
        reason: Box<KafkaError>,
    },
}

impl EventWriter {
    /// A writer to `topic`, which has that many `partitions`.
    ///
    /// # Errors
    /// [`WriteError::Client`] if librdkafka does not accept the configuration.
    pub fn new(mut config: ClientConfig, topic: &str, partitions: i32) -> Result<Self, WriteError> {
        let bootstrap = config
            .get("bootstrap.servers")
            .unwrap_or_default()
            .to_owned();
        for (key, value) in [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("message.timeout.ms", WRITTEN_WITHIN.as_millis().to_string()),
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

    /// Connects and learns where the partitions are, so that the first event need not wait
    /// for it.
    ///
    /// # Errors
    /// [`WriteError::NotWritten`], of no event, if the brokers do not answer.
    pub fn connect(&self) -> Result<(), WriteError> {
        let client = self.producer.client();
        match client.fetch_metadata(Some(&self.topic), CONNECTED_WITHIN) {
            Ok(_metadata) => Ok(()),
            Err(reason) => Err(self.not_written(0, reason)),
        }
    }

    /// Puts an event on its way; waits while too many are.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] for an event that cannot be sent;
    /// [`WriteError::NotWritten`] if an earlier one could not be written.
    pub fn send(&self, target: &Target, value: &[u8]) -> Result<(), WriteError> {
        let record = BaseRecord::<str, [u8]>::to(&self.topic).payload(value);
        match target {
            Target::Key(key) => self.put(record.key(key)),
            Target::Anywhere => self.put(record),
            Target::EveryPartition(key) => (0..self.partitions).try_for_each(|partition| {
                let record = BaseRecord::<str, [u8]>::to(&self.topic).payload(value);
                self.put(record.key(key).partition(partition))
            }),
        }
    }

    /// Waits, and takes note of what has been written meanwhile.
    pub fn wait(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// How many records have been written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.producer.context().tally().written
    }

    /// Waits until everything is written; how many records that were.
    ///
    /// # Errors
    /// [`WriteError::NotWritten`] if some could not be written in time.
    pub fn finish(&self) -> Result<u64, WriteError> {
        let flushed = self.producer.flush(WRITTEN_WITHIN);
        self.check()?;
        flushed.map_err(|reason| {
            let count = self.producer.in_flight_count();
            self.not_written(u64::try_from(count).unwrap_or_default(), reason)
        })?;
        Ok(self.written())
    }

    fn put(&self, mut record: BaseRecord<'_, str, [u8]>) -> Result<(), WriteError> {
        loop {
            self.check()?;
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    self.producer.poll(ROOM);
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
        match self.producer.context().tally().failed.clone() {
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

/// What became of the records.
#[derive(Default)]
struct Deliveries(Mutex<Tally>);

#[derive(Clone, Debug, Default)]
struct Tally {
    written: u64,
    /// How many were not, and why the first of them.
    failed: Option<(u64, KafkaError)>,
}

impl Deliveries {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut tally = self.tally();
        match result {
            Ok(_) => tally.written += 1,
            Err((reason, _)) => {
                let (count, _) = tally.failed.get_or_insert_with(|| (0, reason.clone()));
                *count += 1;
            }
        }
    }
}
