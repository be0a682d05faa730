//! Processes dead letters in batches, one transaction each.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{anyhow, bail};
use indicatif::ProgressBar;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::kind::DeadLetterKind;
use super::letter::{DeadLetter, DeadLetterId, DeadLetterSummary};
use super::scan::Scan;
use super::selection::SelectionArgs;
use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::output::progress;
use crate::session::Timestamp;
use crate::wire::dead_letter::{PROCESSED, PROCESSED_AS};

/// Bounds each call of the transactional producer.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds the letters of a transaction.
const MAX_LETTERS_PER_TRANSACTION: usize = 500;
/// Bounds the values of a transaction in bytes, exceeded by one letter at most.
const MAX_BYTES_PER_TRANSACTION: usize = 8 * 1024 * 1024;
/// Larger than any broker's limit, so that the brokers' limit applies.
const MAX_MESSAGE_BYTES: &str = "100000000";

/// Decides how a dead letter is processed.
pub(crate) trait Processor {
    /// The value of the header [`PROCESSED_AS`]: `redriven` or `discarded`.
    const PROCESSED_AS: &'static str;

    /// The record to write in addition to the marker, or why the letter has to be skipped.
    fn record(
        &self,
        kind: DeadLetterKind,
        letter: &DeadLetter,
    ) -> Result<Option<RedriveRecord>, String>;
}

/// A record for the source topic, with the key and the value of the dead letter.
pub(crate) struct RedriveRecord {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) headers: OwnedHeaders,
}

/// The result of processing dead letters.
#[derive(Debug, Default)]
pub struct ProcessSummary {
    /// The number of processed letters.
    pub processed: usize,
    /// The letters that a dry run has selected.
    pub planned: Vec<DeadLetterSummary>,
    /// The letters that could not be processed, and why.
    pub skipped: Vec<(DeadLetterId, String)>,
}

/// Whether a progress bar is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressBarMode {
    Shown,
    Hidden,
}

/// Processes all selected letters.
pub(crate) fn process<P: Processor>(
    processor: &P,
    args: &SelectionArgs,
    global: &GlobalArgs,
    mode: ProgressBarMode,
) -> anyhow::Result<ProcessSummary> {
    let topics = global.topics.topics();
    let named = args.named(&topics)?;
    let config = global.connection.client_config()?;
    // Fences other processes before anything is read, so that the scan stays valid.
    let writer = if args.dry_run {
        None
    } else {
        Some(MarkerWriter::start(global)?)
    };
    let mut run = Run {
        processor,
        args,
        mode,
        named: named.iter().map(|(_, id)| id.clone()).collect(),
        now: Clock::default().wall(),
        writer,
        summary: ProcessSummary::default(),
    };
    let mut kinds = args.filter.kinds();
    kinds.retain(|kind| named.is_empty() || named.iter().any(|(other, _)| other == kind));
    for kind in kinds {
        run.process_kind(kind, &config, kind.dead_letter_topic(&topics))?;
    }
    Ok(run.summary)
}

struct Run<'a, P> {
    processor: &'a P,
    args: &'a SelectionArgs,
    mode: ProgressBarMode,
    named: BTreeSet<DeadLetterId>,
    now: Timestamp,
    /// `None` in a dry run.
    writer: Option<MarkerWriter>,
    summary: ProcessSummary,
}

impl<P: Processor> Run<'_, P> {
    fn process_kind(
        &mut self,
        kind: DeadLetterKind,
        config: &ClientConfig,
        topic: &str,
    ) -> anyhow::Result<()> {
        let scan = Scan::open(config, topic)?;
        let bar = match self.mode {
            ProgressBarMode::Shown => progress_bar(kind, scan.offsets()),
            ProgressBarMode::Hidden => ProgressBar::hidden(),
        };
        scan.letters(|letter| {
            if self.count() >= self.args.filter.limit() {
                return Ok(ControlFlow::Break(()));
            }
            bar.inc(1);
            let named = self.named.is_empty() || self.named.contains(&letter.id);
            if named && self.args.filter.matches(&letter, self.now) {
                self.process_letter(kind, &letter)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(writer) = &mut self.writer {
            writer.commit()?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn count(&self) -> usize {
        self.summary.processed + self.summary.planned.len()
    }

    fn process_letter(&mut self, kind: DeadLetterKind, letter: &DeadLetter) -> anyhow::Result<()> {
        let record = match self.processor.record(kind, letter) {
            Ok(record) => record,
            Err(reason) => {
                self.summary.skipped.push((letter.id.clone(), reason));
                return Ok(());
            }
        };
        let Some(writer) = &mut self.writer else {
            self.summary.planned.push(letter.summary());
            return Ok(());
        };
        writer.write(letter, record, P::PROCESSED_AS)?;
        self.summary.processed += 1;
        Ok(())
    }
}

/// Writes redriven records and markers in transactions.
struct MarkerWriter {
    producer: ThreadedProducer<DefaultProducerContext>,
    letters: usize,
    bytes: usize,
    /// The topics of the current transaction.
    topics: BTreeSet<String>,
}

impl MarkerWriter {
    /// Fences every other writer of the installation.
    fn start(global: &GlobalArgs) -> anyhow::Result<Self> {
        let mut config = global.connection.producer_config()?;
        config
            .set("transactional.id", global.topics.prefixed("sundown-dlq"))
            .set("message.max.bytes", MAX_MESSAGE_BYTES);
        let producer: ThreadedProducer<_> = config.create()?;
        producer
            .init_transactions(TRANSACTION_TIMEOUT)
            .map_err(|error| {
                let error = WithHint(&error);
                anyhow!("cannot initialize transactions, which dead letters require: {error}")
            })?;
        Ok(Self {
            producer,
            letters: 0,
            bytes: 0,
            topics: BTreeSet::new(),
        })
    }

    fn write(
        &mut self,
        letter: &DeadLetter,
        redriven: Option<RedriveRecord>,
        processed_as: &str,
    ) -> anyhow::Result<()> {
        if self.letters == 0 {
            self.topics.clear();
            self.with_context(self.producer.begin_transaction())?;
        }
        if let Some(redriven) = redriven {
            let mut record = BaseRecord::<[u8], [u8]>::to(&redriven.topic);
            record.key = letter.key.as_deref();
            record.payload = letter.value.as_deref();
            record.partition = redriven.partition;
            self.send(record.headers(redriven.headers))?;
            self.topics.insert(redriven.topic);
        }
        let marker = OwnedHeaders::new_with_capacity(2)
            .insert(Header {
                key: PROCESSED,
                value: Some(&letter.id.offset.to_string()),
            })
            .insert(Header {
                key: PROCESSED_AS,
                value: Some(processed_as),
            });
        let mut record = BaseRecord::<[u8], [u8]>::to(&letter.id.topic);
        record.key = letter.key.as_deref();
        record.partition = Some(letter.id.partition);
        self.send(record.headers(marker))?;
        self.topics.insert(letter.id.topic.clone());
        self.letters += 1;
        self.bytes += letter.value.as_deref().map_or(0, <[u8]>::len);
        if self.letters >= MAX_LETTERS_PER_TRANSACTION || self.bytes >= MAX_BYTES_PER_TRANSACTION {
            self.commit()?;
        }
        Ok(())
    }

    /// The queue holds far more records than a transaction, so it is never full.
    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
        self.with_context(self.producer.send(record).map_err(|(error, _)| error))
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        if self.letters == 0 {
            return Ok(());
        }
        (self.letters, self.bytes) = (0, 0);
        self.with_context(self.producer.commit_transaction(TRANSACTION_TIMEOUT))
    }

    fn with_context(&self, result: Result<(), KafkaError>) -> anyhow::Result<()> {
        let Err(error) = result else {
            return Ok(());
        };
        let fenced = [
            RDKafkaErrorCode::Fenced,
            RDKafkaErrorCode::ProducerFenced,
            RDKafkaErrorCode::InvalidProducerEpoch,
        ];
        let code = error.rdkafka_error_code();
        if code.is_some_and(|code| fenced.contains(&code)) {
            bail!(
                "another `sundown dlq` has taken over; letters of the open transaction are unchanged"
            );
        }
        let topics: Vec<_> = self.topics.iter().map(String::as_str).collect();
        bail!(
            "the transaction on {} failed and its letters are unchanged; retry: {}",
            topics.join(", "),
            WithHint(&error)
        )
    }
}

/// Advances with the offsets read, since the number of selected letters is unknown.
fn progress_bar(kind: DeadLetterKind, offsets: u64) -> ProgressBar {
    progress::bar(Some(offsets), "{bar:40} {pos}/{len} {msg}  {eta}").with_message(kind.plural())
}
