//! What goes into a transaction: a batch as records for Kafka.

use rdkafka::message::{Header, OwnedHeaders};

use super::engine::Batch;
use super::partition::PartitionBatch;
use super::rejected_record::RejectedRecord;
use crate::kafka::Topics;
use crate::session::{Checkpoint, Effect, Ending, Expiring, Timestamp};
use crate::tracker::delivery::Delivery;
use crate::wire::dead_letter::{self, Origin};
use crate::wire::terminal::{SessionEnded, SessionExpiring, SourcePartition};

/// A record to be written.
#[derive(Debug)]
pub struct ProducerRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition, where the key does not decide.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Option<OwnedHeaders>,
}

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// Whether a transaction guards them.
    pub delivery: Delivery,
    /// Dead letters of more bytes are written without the contents of their records.
    pub max_letter: usize,
}

/// Names, on checkpoint records that no transaction guards, the source offset that is
/// committed after them.
pub const POSITION: &str = "sundown-position";

/// Writes everything in `batch` through `send`, in order.
///
/// # Errors
/// The first error of `send`.
pub fn write<E>(
    batch: &Batch,
    topics: &Topics,
    options: EncodeOptions,
    mut send: impl FnMut(ProducerRecord<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Vec::with_capacity(512);
    for part in &batch.partitions {
        let mut writer = Writer {
            topics,
            source: SourcePartition {
                topic: &topics.session_logs,
                partition: part.partition,
            },
            detected_at: batch.detected_at,
            position: (options.delivery == Delivery::AtLeastOnce)
                .then(|| part.position.to_string()),
            max_letter: options.max_letter,
            buffer: &mut buffer,
            send: &mut send,
        };
        writer.partition(part)?;
    }
    Ok(())
}

struct Writer<'a, S> {
    topics: &'a Topics,
    source: SourcePartition<'a>,
    detected_at: Timestamp,
    /// For [`POSITION`].
    position: Option<String>,
    max_letter: usize,
    buffer: &'a mut Vec<u8>,
    send: &'a mut S,
}

impl<E, S: FnMut(ProducerRecord<'_>) -> Result<(), E>> Writer<'_, S> {
    fn partition(&mut self, part: &PartitionBatch) -> Result<(), E> {
        for effect in &part.effects {
            match effect {
                Effect::Ended(ending) => self.ended(ending)?,
                Effect::Expiring(expiring) => self.expiring(expiring)?,
                Effect::Store(checkpoint) => self.store(checkpoint)?,
                Effect::Forget(session) => {
                    self.checkpoint(session.text(&mut [0; 36]).as_bytes(), None)?;
                }
            }
        }
        part.dead_letters
            .iter()
            .try_for_each(|letter| self.dead_letter(letter))
    }

    fn ended(&mut self, ending: &Ending) -> Result<(), E> {
        let event = SessionEnded::new(ending, self.source, self.detected_at);
        let headers = event.headers(self.source);
        self.json(
            &self.topics.expired_sessions,
            &event.session_id,
            &event,
            headers,
        )
    }

    fn expiring(&mut self, expiring: &Expiring) -> Result<(), E> {
        let event = SessionExpiring::new(expiring, self.source);
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
        // Writing to memory cannot fail, and these types always serialise.
        let _always_ok = serde_json::to_writer(&mut *self.buffer, event);
        (self.send)(ProducerRecord {
            topic,
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(self.buffer),
            headers: Some(headers),
        })
    }

    fn store(&mut self, checkpoint: &Checkpoint) -> Result<(), E> {
        let mut buffer = std::mem::take(self.buffer);
        buffer.clear();
        checkpoint.encode(&mut buffer);
        let sent = self.checkpoint(
            checkpoint.session.text(&mut [0; 36]).as_bytes(),
            Some(&buffer),
        );
        *self.buffer = buffer;
        sent
    }

    /// Checkpoint records lie on the partition with the number of their source.
    fn checkpoint(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), E> {
        let headers = self.position.as_ref().map(|position| {
            OwnedHeaders::new().insert(Header {
                key: POSITION,
                value: Some(position),
            })
        });
        (self.send)(ProducerRecord {
            topic: &self.topics.checkpoint,
            partition: Some(self.source.partition),
            key: Some(key),
            value,
            headers,
        })
    }

    fn dead_letter(&mut self, letter: &RejectedRecord) -> Result<(), E> {
        let fits = letter.bytes() <= self.max_letter;
        let mut headers = OwnedHeaders::new_with_capacity(letter.headers.len() + 8);
        if fits {
            for (key, value) in &letter.headers {
                let value = value.as_ref();
                headers = headers.insert(Header { key, value });
            }
        } else {
            headers = headers.insert(Header {
                key: dead_letter::OMITTED,
                value: Some(&letter.bytes().to_string()),
            });
        }
        let origin = Origin {
            topic: self.source.topic,
            partition: self.source.partition,
            offset: letter.offset,
            timestamp: letter.timestamp,
        };
        (self.send)(ProducerRecord {
            topic: &self.topics.session_logs_dlq,
            partition: None,
            key: letter.key.as_deref().filter(|_| fits),
            value: letter.value.as_deref().filter(|_| fits),
            headers: Some(dead_letter::headers(headers, &letter.cause, origin)),
        })
    }
}
