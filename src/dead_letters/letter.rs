//! A dead letter and its headers.

use std::fmt;
use std::str::FromStr;

use rdkafka::Message;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, OwnedHeaders};
use serde::Serialize;

use crate::kafka::headers::ReadableHeaders;
use crate::session::Timestamp;
use crate::wire::dead_letter::{
    ATTEMPTS, ERROR, FailureRecord, OMITTED, PENDING_ACTIONS, REASON, REDRIVE_HISTORY,
    SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC,
};
use crate::wire::time;

/// The topic, partition and offset of a dead letter, such as `expired_sessions.dlq/0/42`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterId {
    /// The full name of the topic, prefix included.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// A record of a dead-letter topic that is not a marker.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub(crate) id: DeadLetterId,
    /// When the dead letter was written.
    pub(crate) at: Timestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// The headers whose names are UTF-8.
    pub(crate) headers: ReadableHeaders,
    /// All headers, if there are others.
    pub(crate) all_headers: Option<OwnedHeaders>,
}

/// A dead letter as `sundown dlq list` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetterSummary {
    /// `TOPIC/PARTITION/OFFSET`.
    pub id: String,
    /// When the dead letter was written, RFC 3339.
    pub dead_since: String,
    /// The reason, from a closed set.
    pub reason: String,
    /// The error, for humans.
    pub error: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The actions that have not run; terminal events only.
    pub pending_actions: Vec<String>,
    /// The session id in the value, or else the key.
    pub session: Option<String>,
    /// The number of times that the record has been redriven, ten at most.
    pub redrives: usize,
}

impl DeadLetter {
    pub(crate) fn read(record: &BorrowedMessage<'_>) -> Self {
        let letter = Self::of(record);
        let all_headers = record
            .headers()
            .filter(|_| letter.headers.unreadable > 0)
            .map(BorrowedHeaders::detach);
        Self {
            all_headers,
            ..letter
        }
    }

    /// Copies a record of a dead-letter topic, without the headers whose names are not UTF-8.
    #[must_use]
    pub fn of(record: &impl Message) -> Self {
        Self {
            id: DeadLetterId {
                topic: record.topic().to_owned(),
                partition: record.partition(),
                offset: record.offset(),
            },
            at: Timestamp::from_millis(record.timestamp().to_millis().unwrap_or_default()),
            key: record.key().map(<[u8]>::to_vec),
            value: record.payload().map(<[u8]>::to_vec),
            headers: ReadableHeaders::copy(record.headers()),
            all_headers: None,
        }
    }

    /// The last header of that name. The source record may already have had one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.headers.last(name)?).ok()
    }

    /// The reason, from a closed set.
    pub(crate) fn reason(&self) -> &str {
        self.header(REASON).unwrap_or("unknown")
    }

    /// The actions that have not run; terminal events only.
    pub(crate) fn pending_actions(&self) -> impl Iterator<Item = &str> {
        let names = self.header(PENDING_ACTIONS).unwrap_or_default().split(',');
        names.filter(|name| !name.is_empty())
    }

    /// The session id in the value, or else the key.
    pub(crate) fn session(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct SessionField {
            session_id: String,
        }
        let value = self.value.as_deref().unwrap_or_default();
        if let Ok(fields) = serde_json::from_slice::<SessionField>(value) {
            return Some(fields.session_id);
        }
        let key = self.key.as_deref()?;
        str::from_utf8(key).ok().map(str::to_owned)
    }

    /// The partition of the source record.
    pub(crate) fn source_partition(&self) -> Option<i32> {
        self.header(SOURCE_PARTITION)?.parse().ok()
    }

    /// Whether key, value and headers were omitted because of their size.
    pub(crate) fn is_truncated(&self) -> bool {
        self.header(OMITTED).is_some()
    }

    /// The failures before the last redrive, the latest last.
    #[must_use]
    pub fn history(&self) -> Vec<FailureRecord> {
        let header = self.header(REDRIVE_HISTORY).unwrap_or("[]");
        serde_json::from_str(header).unwrap_or_default()
    }

    /// The latest failure.
    #[must_use]
    pub fn failure(&self) -> FailureRecord {
        let part = |name| self.header(name).unwrap_or("?");
        let (topic, partition) = (part(SOURCE_TOPIC), part(SOURCE_PARTITION));
        FailureRecord {
            reason: self.reason().to_owned(),
            error: self.header(ERROR).unwrap_or_default().to_owned(),
            attempts: self.attempts(),
            at: time::format(self.at),
            source: format!("{topic}/{partition}/{}", part(SOURCE_OFFSET)),
        }
    }

    /// What `sundown dlq list` shows of it.
    #[must_use]
    pub fn summary(&self) -> DeadLetterSummary {
        DeadLetterSummary {
            id: self.id.to_string(),
            dead_since: time::format(self.at),
            reason: self.reason().to_owned(),
            error: self.header(ERROR).unwrap_or_default().to_owned(),
            attempts: self.attempts(),
            pending_actions: self.pending_actions().map(str::to_owned).collect(),
            session: self.session(),
            redrives: self.history().len(),
        }
    }

    fn attempts(&self) -> u32 {
        let attempts = self.header(ATTEMPTS).and_then(|text| text.parse().ok());
        attempts.unwrap_or_default()
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for DeadLetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('/').collect();
        if let [topic, partition, offset] = parts[..]
            && let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse())
        {
            let topic = topic.to_owned();
            return Ok(Self {
                topic,
                partition,
                offset,
            });
        }
        Err(format!(
            "'{text}' is not of the form TOPIC/PARTITION/OFFSET; `sundown dlq list` shows the ids"
        ))
    }
}
