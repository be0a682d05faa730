//! Writes outputs, watermarks and source offsets together.
//!
//! With [`Delivery::ExactlyOnce`] all of it is one Kafka transaction and commits, or none.
//! With [`Delivery::AtLeastOnce`] the outputs are written and flushed before the offsets are
//! committed: for services without transactions.

pub mod commit_error;
pub mod delivery;
mod queue;
pub mod record;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::group::GroupConsumer;
use commit_error::{CommitError, at};
use delivery::{Delivery, Stage};
use queue::{BatchProducer, Failures, TRANSACTION_TIMEOUT, drain, send};
use record::ProducerRecord;

/// How long one call may take before it is retried.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many times a call is attempted before the producer is discarded.
const MAX_ATTEMPTS: u32 = 3;
/// The largest dead letter, in bytes, that is written in full after larger ones were refused.
const SMALL_DEAD_LETTER: usize = 64 << 10;

/// Queues one record of a transaction.
pub type SendRecord<'a> = dyn FnMut(ProducerRecord<'_>) -> Result<(), CommitError> + 'a;

/// A producer that commits outputs with the offsets of a group member.
pub struct TransactionalWriter {
    config: ClientConfig,
    delivery: Delivery,
    dead_letter_topic: String,
    consumer: Arc<GroupConsumer>,
    /// `None` after it was fenced or timed out; the next batch creates a new one.
    producer: Option<BatchProducer>,
    /// Whether the brokers have acknowledged that the last transaction was aborted.
    abort_acknowledged: bool,
}

impl TransactionalWriter {
    /// Creates a writer for the group member `consumer`. No other process may use
    /// `transactional_id`.
    ///
    /// # Errors
    /// If the producer cannot be created, or cannot take over its transactional id.
    pub fn new(
        mut config: ClientConfig,
        delivery: Delivery,
        transactional_id: &str,
        dead_letter_topic: &str,
        consumer: Arc<GroupConsumer>,
    ) -> Result<Self, CommitError> {
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        let mut defaults = vec![
            ("compression.type", "lz4"),
            // Outputs arrive in batches and are flushed at once, so lingering gains nothing.
            ("linger.ms", "1"),
            ("message.timeout.ms", &timeout),
            // Larger than any dead letter: the brokers check its size.
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
        // The user's -X options take precedence.
        for (key, value) in defaults {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        let mut writer = Self {
            config,
            delivery,
            dead_letter_topic: dead_letter_topic.to_owned(),
            consumer,
            producer: None,
            abort_acknowledged: false,
        };
        writer.producer()?;
        Ok(writer)
    }

    /// Returns the delivery guarantee.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Returns whether the same batch may be committed again after `error` of the last commit:
    /// nothing of it counts, and this process is still a member of the group.
    #[must_use]
    pub fn may_retry(&self, error: &CommitError) -> bool {
        self.abort_acknowledged && !error.concerns_membership()
    }

    /// Writes outputs with `write` and watermarks with `write_watermarks`, and commits `offsets`
    /// for the member in `group`. `write` gets the number of bytes beyond which it has to write
    /// dead letters without the contents of their records.
    ///
    /// # Errors
    /// [`CommitError`]; then none of it counts.
    pub fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        mut write: impl FnMut(usize, &mut SendRecord<'_>) -> Result<(), CommitError>,
        mut write_watermarks: impl FnMut(&mut SendRecord<'_>) -> Result<(), CommitError>,
    ) -> Result<(), CommitError> {
        let topic = self.dead_letter_topic.clone();
        let mut attempt = |max_dead_letter| {
            let write = |send: &mut SendRecord<'_>| write(max_dead_letter, send);
            self.attempt(offsets, group, write, &mut write_watermarks)
        };
        let outcome = attempt(usize::MAX);
        let Err(error @ CommitError::TooLarge(_)) = outcome else {
            return outcome;
        };
        // One large record must not block the partition.
        tracing::warn!(
            %error,
            topic,
            "writing large dead letters without their contents, which stay in the source topic until retention deletes them; raise max.message.bytes of the dead-letter topic to that of the source topic"
        );
        attempt(SMALL_DEAD_LETTER)
    }

    fn attempt(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        mut write: impl FnMut(&mut SendRecord<'_>) -> Result<(), CommitError>,
        mut write_watermarks: impl FnMut(&mut SendRecord<'_>) -> Result<(), CommitError>,
    ) -> Result<(), CommitError> {
        self.abort_acknowledged = false;
        let delivery = self.delivery;
        let consumer = Arc::clone(&self.consumer);
        let producer = self.producer()?;
        let mut send = |record: ProducerRecord<'_>| send(producer, record);
        let mut stages = delivery.stages().iter();
        let outcome = stages.try_for_each(|stage| match stage {
            Stage::Begin => at("begin the transaction", producer.begin_transaction()),
            Stage::Write => {
                write(&mut send)?;
                drain(producer)
            }
            Stage::WriteWatermarks => {
                write_watermarks(&mut send)?;
                drain(producer)
            }
            // A batch of watermarks alone has no offsets.
            Stage::AddOffsets | Stage::CommitOffsets if offsets.count() == 0 => Ok(()),
            Stage::AddOffsets => retry("add offsets to the transaction", || {
                producer.send_offsets_to_transaction(offsets, group, CALL_TIMEOUT)
            }),
            Stage::Commit => retry("commit the transaction", || {
                producer.commit_transaction(CALL_TIMEOUT)
            }),
            Stage::CommitOffsets => {
                let committed = consumer.commit(offsets, CommitMode::Sync);
                at("commit offsets", committed)
            }
        });
        let outcome = outcome.map_err(|error| fenced_or(error, producer));
        let mut abort_acknowledged = false;
        if let Err(error) = &outcome {
            let transactional = delivery == Delivery::ExactlyOnce;
            // Fenced, or in doubt. The next producer takes over the transactional id, which ends
            // the open transaction; a restore reads whether it was committed.
            let lost = requires_new_producer(error) || transactional && abort(producer).is_err();
            abort_acknowledged = transactional && !lost;
            if lost || error.has_timed_out() {
                self.producer = None;
            }
        }
        self.abort_acknowledged = abort_acknowledged;
        outcome
    }

    /// Returns the producer, ready for another batch.
    fn producer(&mut self) -> Result<&BatchProducer, CommitError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let producer: BatchProducer = at(
                    "create the producer",
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
        // Failures of an aborted batch are not this one's.
        producer.context().forget();
        Ok(self.producer.insert(producer))
    }
}

fn abort(producer: &BatchProducer) -> Result<(), CommitError> {
    retry("abort the transaction", || {
        producer.abort_transaction(CALL_TIMEOUT)
    })
}

/// Retries a call while Kafka returns retriable errors.
fn retry(
    step: &'static str,
    mut call: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), CommitError> {
    let mut attempt = 1;
    loop {
        match call() {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && attempt < MAX_ATTEMPTS =>
            {
                tracing::warn!(step, attempt, %error, "cannot end a step of the transaction yet; retrying");
                attempt += 1;
            }
            result => return at(step, result),
        }
    }
}

/// The fatal error of a fenced producer is precise; the errors of its calls need not be.
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
