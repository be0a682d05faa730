//! A batch as records for Kafka.

use std::collections::BTreeMap;

use rdkafka::message::{Header, OwnedHeaders};

use super::engine::Batch;
use super::forwarding::ForwardedRecord;
use super::partition::PartitionBatch;
use crate::dead_letters::rejected_record::RejectedRecord;
use crate::kafka::transaction::delivery::Delivery;
use crate::kafka::transaction::record::ProducerRecord;
use crate::kafka::{Topics, upstream};
use crate::session::{Effect, EndReason, Ending, Expiring, Record, RecordKey, Timestamp};
use crate::wire::terminal::{SessionEnded, SessionExpiring, SourcePartition};
use crate::wire::watermark::{Watermark, WatermarkRecord};

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

/// The records of one stage of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// All but checkpoint records.
    Outputs,
    Checkpoint,
}

/// Writes `batch` through `send`, in order, and counts what it writes. Outside a transaction it
/// leaves out checkpoint records, which [`write_last`] writes.
///
/// # Errors
/// The first error of `send`.
pub fn write<E>(
    batch: &Batch,
    topics: &Topics,
    options: EncodeOptions,
    send: impl FnMut(ProducerRecord<'_>) -> Result<(), E>,
) -> Result<OutputCounts, E> {
    let part = match options.delivery {
        Delivery::ExactlyOnce => Part::All,
        Delivery::AtLeastOnce => Part::Outputs,
    };
    write_part(batch, topics, options, part, send)
}

fn write_part<E>(
    batch: &Batch,
    topics: &Topics,
    options: EncodeOptions,
    selected: Part,
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
            partition_count: batch.routing.partitions,
            position: (options.delivery == Delivery::AtLeastOnce)
                .then(|| part.position.to_string()),
            max_dead_letter: options.max_dead_letter,
            selected,
            buffer: &mut buffer,
            key: &mut key,
            counts: &mut counts,
            send: &mut send,
        };
        writer.write(part)?;
    }
    Ok(counts)
}

/// Writes what has to become readable no sooner than everything that [`write`] writes: outside a
/// transaction, checkpoint records, so that a session is over there only once its terminal event
/// exists; and up to when `batch` has read and forwarded the source, under the key `process`.
///
/// # Errors
/// The first error of `send`.
pub fn write_last<E>(
    batch: &Batch,
    topics: &Topics,
    options: EncodeOptions,
    process: &[u8],
    mut send: impl FnMut(ProducerRecord<'_>) -> Result<(), E>,
) -> Result<OutputCounts, E> {
    let counts = match options.delivery {
        Delivery::ExactlyOnce => OutputCounts::default(),
        Delivery::AtLeastOnce => write_part(batch, topics, options, Part::Checkpoint, &mut send)?,
    };
    let mut record = |key: &[u8], value: Option<&[u8]>| {
        send(ProducerRecord {
            topic: &topics.watermarks,
            partition: Some(upstream::PARTITION),
            key: Some(key),
            value,
            headers: None,
            timestamp: None,
        })
    };
    if let Some(statements) = &batch.watermarks {
        let watermarks = statements.iter().map(|(&partition, &until)| Watermark {
            topic: topics.session_logs.clone(),
            partition,
            until,
        });
        let value = WatermarkRecord {
            routing: Some(batch.routing),
            watermarks: watermarks.collect(),
        };
        record(process, Some(&value.encode()))?;
    }
    let mut superseded = batch.superseded.iter();
    superseded.try_for_each(|key| record(key, None))?;
    Ok(counts)
}

struct PartitionWriter<'a, S> {
    topics: &'a Topics,
    source: SourcePartition<'a>,
    detected_at: Timestamp,
    partition_count: i32,
    /// The value of [`POSITION`].
    position: Option<String>,
    max_dead_letter: usize,
    selected: Part,
    buffer: &'a mut Vec<u8>,
    key: &'a mut Vec<u8>,
    counts: &'a mut OutputCounts,
    send: &'a mut S,
}

impl<E, S: FnMut(ProducerRecord<'_>) -> Result<(), E>> PartitionWriter<'_, S> {
    fn write(&mut self, part: &PartitionBatch) -> Result<(), E> {
        for effect in &part.effects {
            let is_checkpoint = matches!(effect, Effect::Store(_) | Effect::Forget(_));
            let left_out = if is_checkpoint {
                Part::Outputs
            } else {
                Part::Checkpoint
            };
            if self.selected == left_out {
                continue;
            }
            match effect {
                Effect::Ended(ending) => self.ended(ending)?,
                Effect::Expiring(expiring) => self.expiring(expiring)?,
                Effect::Store(record) => self.store(record)?,
                Effect::Forget(key) => self.tombstone(key)?,
            }
        }
        if self.selected == Part::Checkpoint {
            return Ok(());
        }
        part.forwarded
            .iter()
            .try_for_each(|forwarded| self.forward(forwarded))?;
        part.dead_letters
            .iter()
            .try_for_each(|rejected| self.dead_letter(rejected))
    }

    /// Writes an event to the partitions that it belongs on.
    fn forward(&mut self, forwarded: &ForwardedRecord) -> Result<(), E> {
        let key = forwarded.mark.encode();
        let mut partitions = forwarded.partitions(self.source.partition, self.partition_count);
        partitions.try_for_each(|partition| {
            (self.send)(ProducerRecord {
                topic: &self.topics.session_logs,
                partition: Some(partition),
                key: Some(&key),
                value: Some(&forwarded.value),
                headers: None,
                timestamp: forwarded.create_time,
            })
        })
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
            timestamp: None,
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
            timestamp: None,
        })
    }

    fn dead_letter(&mut self, rejected: &RejectedRecord) -> Result<(), E> {
        let reason = rejected.cause.reason;
        *self.counts.dead_letters.entry(reason).or_default() += 1;
        let source = (self.source.topic, self.source.partition);
        let topic = &self.topics.session_logs_dlq;
        (self.send)(rejected.dead_letter(topic, source, self.max_dead_letter))
    }
}
