//! A batch as records for Kafka.

use std::collections::BTreeMap;

use rdkafka::message::{Header, OwnedHeaders};

use super::engine::Batch;
use super::partition::PartitionBatch;
use super::rejected_record::RejectedRecord;
use crate::kafka::Topics;
use crate::session::{Effect, EndReason, Ending, Expiring, Record, RecordKey, Timestamp};
use crate::tracker::delivery::Delivery;
use crate::wire::dead_letter::{self, Origin};
use crate::wire::terminal::{SessionEnded, SessionExpiring, SourcePartition};

/// A record to write.
#[derive(Debug)]
pub struct ProducerRecord<'a> {
    pub topic: &'a str,
    /// `None` where the key decides.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Option<OwnedHeaders>,
}

/// How records are encoded.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// Whether the records are in a transaction.
    pub delivery: Delivery,
    /// Bytes beyond which a dead letter is written without the contents of its record.
    pub max_dead_letter: usize,
}

/// What a batch has written, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputCounts {
    /// Terminal events by reason.
    pub endings: BTreeMap<EndReason, u64>,
    /// The deadlines of sessions that ended at a timeout.
    pub deadlines: Vec<Timestamp>,
    pub warnings: u64,
    /// Checkpoint records by [`CHECKPOINT_KINDS`].
    pub checkpoint_writes: BTreeMap<&'static str, u64>,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
}

/// The kinds of checkpoint records: of live sessions, of remembered endings, of revocations of
/// many sessions, and tombstones.
pub const CHECKPOINT_KINDS: [&str; 4] = ["state", "ended", "cut_off", "tombstone"];

/// Header of checkpoint records outside a transaction: the source offset that is committed after
/// them.
pub const POSITION: &str = "sundown-position";

/// Writes `batch` through `send`, in order, and counts what it writes.
///
/// # Errors
/// The first error of `send`.
pub fn write<E>(
    batch: &Batch,
    topics: &Topics,
    options: EncodeOptions,
    mut send: impl FnMut(ProducerRecord<'_>) -> Result<(), E>,
) -> Result<OutputCounts, E> {
    let (mut buffer, mut key) = (Vec::with_capacity(512), Vec::with_capacity(64));
    let mut counts = OutputCounts::default();
    for part in &batch.partitions {
        let mut writer = PartitionWriter {
            topics,
            source: SourcePartition {
                topic: &topics.session_logs,
                partition: part.partition,
            },
            detected_at: batch.detected_at,
            position: (options.delivery == Delivery::AtLeastOnce)
                .then(|| part.position.to_string()),
            max_dead_letter: options.max_dead_letter,
            buffer: &mut buffer,
            key: &mut key,
            counts: &mut counts,
            send: &mut send,
        };
        writer.write(part)?;
    }
    Ok(counts)
}

struct PartitionWriter<'a, S> {
    topics: &'a Topics,
    source: SourcePartition<'a>,
    detected_at: Timestamp,
    /// The value of [`POSITION`].
    position: Option<String>,
    max_dead_letter: usize,
    buffer: &'a mut Vec<u8>,
    key: &'a mut Vec<u8>,
    counts: &'a mut OutputCounts,
    send: &'a mut S,
}

impl<E, S: FnMut(ProducerRecord<'_>) -> Result<(), E>> PartitionWriter<'_, S> {
    fn write(&mut self, part: &PartitionBatch) -> Result<(), E> {
        for effect in &part.effects {
            match effect {
                Effect::Ended(ending) => self.ended(ending)?,
                Effect::Expiring(expiring) => self.expiring(expiring)?,
                Effect::Store(record) => self.store(record)?,
                Effect::Forget(key) => self.tombstone(key)?,
            }
        }
        part.dead_letters
            .iter()
            .try_for_each(|rejected| self.dead_letter(rejected))
    }

    fn ended(&mut self, ending: &Ending) -> Result<(), E> {
        *self.counts.endings.entry(ending.reason).or_default() += 1;
        if matches!(
            ending.reason,
            EndReason::IdleTimeout | EndReason::AbsoluteTimeout
        ) {
            self.counts.deadlines.push(ending.ended_at);
        }
        let event = SessionEnded::new(ending, self.detected_at);
        let headers = event.headers(self.source);
        self.json(
            &self.topics.expired_sessions,
            &event.session_id,
            &event,
            headers,
        )
    }

    fn expiring(&mut self, expiring: &Expiring) -> Result<(), E> {
        self.counts.warnings += 1;
        let event = SessionExpiring::new(expiring);
        let headers = event.headers(self.source);
        self.json(
            &self.topics.expiring_sessions,
            &event.session_id,
            &event,
            headers,
        )
    }

    fn json(
        &mut self,
        topic: &str,
        key: &str,
        event: &impl serde::Serialize,
        headers: OwnedHeaders,
    ) -> Result<(), E> {
        self.buffer.clear();
        // Writing to memory cannot fail, and these types always serialize.
        let _always_ok = serde_json::to_writer(&mut *self.buffer, event);
        (self.send)(ProducerRecord {
            topic,
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(self.buffer),
            headers: Some(headers),
        })
    }

    fn store(&mut self, record: &Record) -> Result<(), E> {
        let kind = match record {
            Record::Session(record) if record.live.is_some() => "state",
            Record::Session(_) => "ended",
            Record::CutOff(_) => "cut_off",
        };
        let mut buffer = std::mem::take(self.buffer);
        buffer.clear();
        record.encode(&mut buffer);
        let sent = self.checkpoint(&record.key(), Some(&buffer), kind);
        *self.buffer = buffer;
        sent
    }

    fn tombstone(&mut self, key: &RecordKey) -> Result<(), E> {
        self.checkpoint(key, None, "tombstone")
    }

    /// A checkpoint record goes to the partition with the number of its source.
    fn checkpoint(
        &mut self,
        key: &RecordKey,
        value: Option<&[u8]>,
        kind: &'static str,
    ) -> Result<(), E> {
        *self.counts.checkpoint_writes.entry(kind).or_default() += 1;
        self.key.clear();
        key.encode(self.key);
        let headers = self.position.as_ref().map(|position| {
            OwnedHeaders::new().insert(Header {
                key: POSITION,
                value: Some(position),
            })
        });
        (self.send)(ProducerRecord {
            topic: &self.topics.checkpoint,
            partition: Some(self.source.partition),
            key: Some(self.key),
            value,
            headers,
        })
    }

    fn dead_letter(&mut self, rejected: &RejectedRecord) -> Result<(), E> {
        let reason = rejected.cause.reason;
        *self.counts.dead_letters.entry(reason).or_default() += 1;
        let fits = rejected.fits(self.max_dead_letter);
        let headers = if fits {
            let headers = rejected.headers.clone();
            headers.unwrap_or_default()
        } else {
            OwnedHeaders::new().insert(Header {
                key: dead_letter::OMITTED,
                value: Some(&rejected.bytes().to_string()),
            })
        };
        let origin = Origin {
            topic: self.source.topic,
            partition: self.source.partition,
            offset: rejected.offset,
            timestamp: rejected.timestamp,
        };
        (self.send)(ProducerRecord {
            topic: &self.topics.session_logs_dlq,
            partition: None,
            key: rejected.key.as_deref().filter(|_| fits),
            value: rejected.value.as_deref().filter(|_| fits),
            headers: Some(dead_letter::headers(headers, &rejected.cause, origin)),
        })
    }
}
