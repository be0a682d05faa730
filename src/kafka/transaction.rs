//! Writes batches and source offsets to Kafka, on a thread of its own.
//!
//! With [`Delivery::ExactlyOnce`] a batch is a Kafka transaction: all of it commits,
//! or none. With [`Delivery::AtLeastOnce`] it is written, flushed, and then its
//! offsets are committed: for services without transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::Topics;
use super::group::GroupConsumer;
use crate::tracker::engine::Batch;
use crate::tracker::outbox::{self, Outgoing};

/// What a crash can do to outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Delivery {
    /// Nothing: they are written in transactions.
    ExactlyOnce,
    /// It can repeat them; terminal events keep their `event_id`.
    AtLeastOnce,
}

/// How long the brokers wait for a silent producer before they abort its transaction.
/// Until then every reader of committed records waits with it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one call may take before it is tried again.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a call is tried before the producer is given up.
const ATTEMPTS: u32 = 3;
/// How long to wait before looking again whether the queue has emptied.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// Why a batch has not been committed. Nothing of it counts.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Kafka refused or did not answer.
    #[error("{step}: {source}")]
    Kafka {
        /// Doing what.
        step: &'static str,
        /// Its answer.
        source: KafkaError,
    },
    /// Records were not acknowledged in time.
    #[error("{0} records were not acknowledged in time")]
    Unacknowledged(i32),
    /// Records were refused, or given up.
    #[error("{0} records could not be written")]
    Unwritten(u64),
}

type Step<T> = Result<T, CommitError>;

fn at<T>(step: &'static str, result: Result<T, KafkaError>) -> Step<T> {
    result.map_err(|source| CommitError::Kafka { step, source })
}

type BatchProducer = ThreadedProducer<Failures>;

/// Counts the records that could not be written.
#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes batches.
pub struct Committer {
    config: ClientConfig,
    delivery: Delivery,
    topics: Topics,
    consumer: Arc<GroupConsumer>,
    /// `None` after it has failed for good (fenced, timed out): made anew when the next
    /// batch comes.
    producer: Option<BatchProducer>,
}

impl Committer {
    /// A committer for the member that `consumer` is of its group. `transactional_id`
    /// has to be this process's alone.
    ///
    /// # Errors
    /// If the producer cannot be made, or does not get hold of its transactional id.
    pub fn new(
        mut config: ClientConfig,
        delivery: Delivery,
        transactional_id: &str,
        topics: Topics,
        consumer: Arc<GroupConsumer>,
    ) -> Result<Self, CommitError> {
        config
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            // Outputs come in batches and are flushed at once; waiting gains nothing.
            .set("linger.ms", "1")
            .set("message.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            // Larger than any dead letter: the source topic has judged its size already.
            .set("message.max.bytes", "100000000")
            .set("queue.buffering.max.messages", "500000")
            .set("queue.buffering.max.kbytes", "262144");
        if delivery == Delivery::ExactlyOnce {
            config
                .set("transactional.id", transactional_id)
                .set(
                    "transaction.timeout.ms",
                    TRANSACTION_TIMEOUT.as_millis().to_string(),
                )
                .set("delivery.report.only.error", "true");
        }
        let mut committer = Self {
            config,
            delivery,
            topics,
            consumer,
            producer: None,
        };
        committer.producer()?;
        Ok(committer)
    }

    /// Writes `batch` and commits the source offsets in it for the member that `group`
    /// describes.
    ///
    /// # Errors
    /// [`CommitError`] if that came to nothing.
    pub fn commit(
        &mut self,
        batch: &Batch,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), CommitError> {
        let offsets = self.offsets(batch)?;
        match self.delivery {
            Delivery::ExactlyOnce => self.transaction(batch, &offsets, group),
            Delivery::AtLeastOnce => self.flush_and_commit(batch, &offsets),
        }
    }

    fn transaction(
        &mut self,
        batch: &Batch,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Step<()> {
        let topics = self.topics.clone();
        let producer = self.producer()?;
        let written = at("begin the transaction", producer.begin_transaction())
            .and_then(|()| write(batch, &topics, producer, Delivery::ExactlyOnce))
            .and_then(|()| drain(producer))
            .and_then(|()| {
                retry("add offsets to the transaction", || {
                    producer.send_offsets_to_transaction(offsets, group, CALL_TIMEOUT)
                })
            })
            .and_then(|()| {
                retry("commit the transaction", || {
                    producer.commit_transaction(CALL_TIMEOUT)
                })
            });
        let Err(error) = written else { return Ok(()) };
        let given_up = requires_new_producer(&error)
            || retry("abort the transaction", || {
                producer.abort_transaction(CALL_TIMEOUT)
            })
            .is_err();
        if given_up {
            // Fenced, or in doubt. The next one takes over its transactional id, which
            // ends what it left open; whether that was committed, a restore reads.
            self.producer = None;
        }
        Err(error)
    }

    fn flush_and_commit(&mut self, batch: &Batch, offsets: &TopicPartitionList) -> Step<()> {
        let topics = self.topics.clone();
        let producer = self.producer()?;
        write(batch, &topics, producer, Delivery::AtLeastOnce)?;
        drain(producer)?;
        at(
            "commit offsets",
            self.consumer.commit(offsets, CommitMode::Sync),
        )
    }

    fn offsets(&self, batch: &Batch) -> Step<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for part in &batch.partitions {
            let mut element = offsets.add_partition(&self.topics.session_logs, part.partition);
            at(
                "name the offset",
                element.set_offset(Offset::Offset(part.position)),
            )?;
            element.set_metadata(part.metadata.encode());
        }
        Ok(offsets)
    }

    /// The producer, ready for another batch.
    fn producer(&mut self) -> Step<&BatchProducer> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let producer: BatchProducer = at(
                    "make the producer",
                    self.config.create_with_context(Failures::default()),
                )?;
                if self.delivery == Delivery::ExactlyOnce {
                    retry("take over the transactional id", || {
                        producer.init_transactions(CALL_TIMEOUT)
                    })?;
                }
                producer
            }
        };
        // What an aborted batch has left behind is not this one's.
        producer.context().0.store(0, Ordering::Relaxed);
        Ok(self.producer.insert(producer))
    }
}

/// Queues everything in `batch`.
fn write(batch: &Batch, topics: &Topics, producer: &BatchProducer, delivery: Delivery) -> Step<()> {
    outbox::write(batch, topics, delivery, |record| send(producer, record))
}

/// Queues a record, waiting while the queue is full.
fn send(producer: &BatchProducer, outgoing: Outgoing<'_>) -> Step<()> {
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
                thread::sleep(QUEUE_PAUSE);
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
fn drain(producer: &BatchProducer) -> Step<()> {
    let mut rounds = TRANSACTION_TIMEOUT.as_millis() * 2 / QUEUE_PAUSE.as_millis();
    while producer.in_flight_count() > 0 {
        if rounds == 0 {
            return Err(CommitError::Unacknowledged(producer.in_flight_count()));
        }
        rounds -= 1;
        thread::sleep(QUEUE_PAUSE);
    }
    match producer.context().0.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(CommitError::Unwritten(failed)),
    }
}

/// Calls again while Kafka says that this may help.
fn retry(step: &'static str, mut call: impl FnMut() -> Result<(), KafkaError>) -> Step<()> {
    let mut attempt = 1;
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && attempt < ATTEMPTS => {
                attempt += 1;
            }
            result => return at(step, result),
        }
    }
}

fn requires_new_producer(error: &CommitError) -> bool {
    match error {
        CommitError::Kafka {
            source: KafkaError::Transaction(error),
            ..
        } => !error.txn_requires_abort(),
        CommitError::Kafka {
            source: KafkaError::MessageProduction(code),
            ..
        } => {
            matches!(code, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced)
        }
        CommitError::Kafka { .. } | CommitError::Unacknowledged(_) => true,
        CommitError::Unwritten(_) => false,
    }
}
