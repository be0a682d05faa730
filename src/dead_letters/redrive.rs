//! Dealing with letters: many at a time, in transactions.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{anyhow, bail};
use indicatif::ProgressBar;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::letter::{DeadLetter, LetterId, Summary};
use super::scan::Scan;
use crate::clock::Clock;
use crate::dead_letters::kind::Kind;
use crate::dead_letters::selection::SelectionArgs;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::output::progress;
use crate::session::Timestamp;
use crate::wire::dead_letter::{PROCESSED, PROCESSED_AS};

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most letters in a transaction.
const MAX_LETTERS: usize = 500;
/// The most bytes in a transaction, about.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Larger than anything a broker would take: brokers judge sizes.
const MAX_MESSAGE_BYTES: &str = "100000000";

/// What is done with letters.
pub(crate) trait Processor {
    /// As markers and people have it: `retried`, `discarded`.
    const NAME: &'static str;

    /// What is written besides the marker; or why the letter cannot be dealt with.
    fn write(&self, kind: Kind, letter: &DeadLetter) -> Result<Option<Outgoing>, String>;
}

/// A record to be written.
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) headers: OwnedHeaders,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many have been dealt with.
    pub processed: usize,
    /// Those that a dry run would have dealt with.
    pub planned: Vec<Summary>,
    /// Those that could not be dealt with, and why.
    pub left: Vec<(LetterId, String)>,
}

/// Whether somebody watches on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Shows how far it is.
    Yes,
    /// Says nothing.
    No,
}

/// Deals with all letters that are meant.
pub(crate) fn process<S: Processor>(
    processor: &S,
    args: &SelectionArgs,
    global: &GlobalArgs,
    watched: Watched,
) -> anyhow::Result<Outcome> {
    let topics = global.topics.topics();
    let named = args.named(&topics)?;
    let config = global.connection.client_config()?;
    // First of all: whoever else is at it is stopped by this, so that what is read from
    // here on stays true.
    let writer = if args.dry_run {
        None
    } else {
        Some(Writer::start(global)?)
    };
    let mut run = Run {
        processor,
        args,
        watched,
        named: named.iter().map(|(_, id)| id.clone()).collect(),
        now: Clock::default().wall(),
        writer,
        outcome: Outcome::default(),
    };
    let mut kinds = args.filter.kinds();
    kinds.retain(|kind| named.is_empty() || named.iter().any(|(other, _)| other == kind));
    for kind in kinds {
        run.kind(kind, &config, kind.dead_letter_topic(&topics))?;
    }
    Ok(run.outcome)
}

struct Run<'a, S> {
    processor: &'a S,
    args: &'a SelectionArgs,
    watched: Watched,
    named: BTreeSet<LetterId>,
    now: Timestamp,
    writer: Option<Writer>,
    outcome: Outcome,
}

impl<S: Processor> Run<'_, S> {
    fn kind(&mut self, kind: Kind, config: &ClientConfig, topic: &str) -> anyhow::Result<()> {
        let scan = Scan::open(config, topic)?;
        let bar = match self.watched {
            Watched::Yes => progress_bar(kind, scan.offsets()),
            Watched::No => ProgressBar::hidden(),
        };
        scan.letters(|letter| {
            if self.count() >= self.args.filter.limit() {
                return Ok(ControlFlow::Break(()));
            }
            bar.inc(1);
            let meant = self.named.is_empty() || self.named.contains(&letter.id);
            if meant && self.args.filter.admits(&letter, self.now) {
                self.letter(kind, &letter)?;
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
        self.outcome.processed + self.outcome.planned.len()
    }

    fn letter(&mut self, kind: Kind, letter: &DeadLetter) -> anyhow::Result<()> {
        let outgoing = match self.processor.write(kind, letter) {
            Ok(outgoing) => outgoing,
            Err(reason) => {
                self.outcome.left.push((letter.id.clone(), reason));
                return Ok(());
            }
        };
        let Some(writer) = &mut self.writer else {
            self.outcome.planned.push(letter.summary());
            return Ok(());
        };
        writer.write(letter, outgoing, S::NAME)?;
        self.outcome.processed += 1;
        Ok(())
    }
}

/// Writes records and markers in transactions.
struct Writer {
    producer: ThreadedProducer<DefaultProducerContext>,
    letters: usize,
    bytes: usize,
    /// Where the records of the transaction go.
    topics: BTreeSet<String>,
}

impl Writer {
    /// Takes over from whoever else deals with dead letters of this installation.
    fn start(global: &GlobalArgs) -> anyhow::Result<Self> {
        let mut config = global.connection.producer_config()?;
        config
            .set("transactional.id", global.topics.prefixed("sundown-dlq"))
            .set("message.max.bytes", MAX_MESSAGE_BYTES);
        let producer: ThreadedProducer<_> = config.create()?;
        producer.init_transactions(TIMEOUT).map_err(|error| {
            let error = WithHint(&error);
            anyhow!("cannot begin to write; redriving needs brokers with transactions: {error}")
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
        outgoing: Option<Outgoing>,
        how: &str,
    ) -> anyhow::Result<()> {
        if self.letters == 0 {
            self.topics.clear();
            self.explain(self.producer.begin_transaction())?;
        }
        if let Some(outgoing) = outgoing {
            let mut record = BaseRecord::<[u8], [u8]>::to(&outgoing.topic);
            record.key = letter.key.as_deref();
            record.payload = letter.value.as_deref();
            record.partition = outgoing.partition;
            self.send(record.headers(outgoing.headers))?;
            self.topics.insert(outgoing.topic.clone());
        }
        let marker = OwnedHeaders::new_with_capacity(2)
            .insert(Header {
                key: PROCESSED,
                value: Some(&letter.id.offset.to_string()),
            })
            .insert(Header {
                key: PROCESSED_AS,
                value: Some(how),
            });
        let mut record = BaseRecord::<[u8], [u8]>::to(&letter.id.topic);
        record.key = letter.key.as_deref();
        record.partition = Some(letter.id.partition);
        self.send(record.headers(marker))?;
        self.topics.insert(letter.id.topic.clone());
        self.letters += 1;
        self.bytes += letter.value.as_deref().map_or(0, <[u8]>::len);
        if self.letters >= MAX_LETTERS || self.bytes >= MAX_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    /// The queue holds far more than a transaction's worth, so it is never full.
    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
        self.explain(self.producer.send(record).map_err(|(error, _)| error))
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        if self.letters == 0 {
            return Ok(());
        }
        (self.letters, self.bytes) = (0, 0);
        self.explain(self.producer.commit_transaction(TIMEOUT))
    }

    fn explain(&self, result: Result<(), KafkaError>) -> anyhow::Result<()> {
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
                "another `sundown dlq` has taken over; what this one had not committed is as it was"
            );
        }
        let topics: Vec<_> = self.topics.iter().map(String::as_str).collect();
        bail!(
            "a transaction failed; what it covered is as it was, so try again: writing to {}: {}",
            topics.join(", "),
            WithHint(&error)
        )
    }
}

/// Moves with the offsets read: how many letters will be meant, nobody knows.
fn progress_bar(kind: Kind, offsets: u64) -> ProgressBar {
    progress::bar(Some(offsets), "{bar:40} {pos}/{len} {msg}  {eta}").with_message(kind.plural())
}
