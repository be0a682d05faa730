//! Writes batches and source offsets to Kafka, on a thread of its own.
//!
//! With [`Delivery::ExactlyOnce`] a batch is a Kafka transaction: all of it commits,
//! or none. With [`Delivery::AtLeastOnce`] it is written, flushed, and then its
//! offsets are committed: for services without transactions.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::commit_error::{CommitError, Step, at};
use super::delivery_queue::TRANSACTION_TIMEOUT;
use super::delivery_queue::{BatchProducer, Failures, drain, send};
use crate::kafka::Topics;
use crate::kafka::group::GroupConsumer;
use crate::tracker::delivery::{Delivery, Stage};
use crate::tracker::engine::Batch;
use crate::tracker::outbox::{self, EncodeOptions};

/// How long one call may take before it is tried again.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a call is tried before the producer is given up.
const ATTEMPTS: u32 = 3;
/// Dead letters up to this size are written in full even where larger ones were refused.
const SMALL_LETTER: usize = 64 << 10;

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
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        let mut defaults = vec![
            ("compression.type", "lz4"),
            // Outputs come in batches and are flushed at once; waiting gains nothing.
            ("linger.ms", "1"),
            ("message.timeout.ms", &timeout),
            // Larger than any dead letter: the brokers judge its size.
            ("message.max.bytes", "100000000"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "262144"),
        ];
        config.set("enable.idempotence", "true");
        if delivery == Delivery::ExactlyOnce {
            config
                .set("transactional.id", transactional_id)
                .set("delivery.report.only.error", "true");
            defaults.push(("transaction.timeout.ms", &timeout));
        }
        // What the user set with -X wins.
        for (key, value) in defaults {
            if config.get(key).is_none() {
                config.set(key, value);
            }
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
        let outcome = self.attempt(batch, group, usize::MAX);
        let Err(error @ CommitError::TooLarge(_)) = outcome else {
            return outcome;
        };
        // Whoever wrote one such record must not bring everything to a halt.
        tracing::warn!(
            %error,
            topic = self.topics.session_logs_dlq,
            "writing without their contents what stays in the source topic until retention deletes it; raise max.message.bytes of the dead-letter topic to that of the source topic"
        );
        self.attempt(batch, group, SMALL_LETTER)
    }

    /// Dead letters of more than `max_letter` bytes are written without their contents.
    fn attempt(
        &mut self,
        batch: &Batch,
        group: &ConsumerGroupMetadata,
        max_letter: usize,
    ) -> Step<()> {
        let offsets = self.offsets(batch)?;
        let topics = self.topics.clone();
        let options = EncodeOptions {
            delivery: self.delivery,
            max_letter,
        };
        let consumer = Arc::clone(&self.consumer);
        let producer = self.producer()?;
        let mut stages = options.delivery.stages().iter();
        let outcome = stages.try_for_each(|stage| match stage {
            Stage::Begin => at("begin the transaction", producer.begin_transaction()),
            Stage::Write => outbox::write(batch, &topics, options, |record| send(producer, record))
                .and_then(|()| drain(producer)),
            Stage::AddOffsets => retry("add offsets to the transaction", || {
                producer.send_offsets_to_transaction(&offsets, group, CALL_TIMEOUT)
            }),
            Stage::Commit => retry("commit the transaction", || {
                producer.commit_transaction(CALL_TIMEOUT)
            }),
            Stage::CommitOffsets => {
                let committed = consumer.commit(&offsets, CommitMode::Sync);
                at("commit offsets", committed)
            }
        });
        let outcome = outcome.map_err(|error| fenced_or(error, producer));
        if let Err(error) = &outcome {
            let ends_transaction = options.delivery == Delivery::ExactlyOnce;
            // Fenced, or in doubt. The next one takes over its transactional id, which
            // ends what it left open; whether that was committed, a restore reads.
            let lost = requires_new_producer(error) || ends_transaction && abort(producer).is_err();
            if lost || error.has_timed_out() {
                self.producer = None;
            }
        }
        outcome
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
        producer.context().forget();
        Ok(self.producer.insert(producer))
    }
}

fn abort(producer: &BatchProducer) -> Step<()> {
    retry("abort the transaction", || {
        producer.abort_transaction(CALL_TIMEOUT)
    })
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

/// A producer that has been fenced says so once for all; what fails for it may say less.
fn fenced_or(error: CommitError, producer: &BatchProducer) -> CommitError {
    let fatal = producer.client().fatal_error().map(|(code, _)| code);
    let is_fence = |code: RDKafkaErrorCode| {
        matches!(
            code,
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    };
    if fatal.is_some_and(is_fence) {
        CommitError::Fenced(Box::new(error))
    } else {
        error
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
        CommitError::Kafka { .. } | CommitError::Unacknowledged(_) | CommitError::Fenced(_) => true,
        CommitError::Unwritten { .. } | CommitError::TooLarge(_) => false,
    }
}
