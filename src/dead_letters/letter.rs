//! A dead letter, and what it says of itself.

use std::fmt;
use std::str::FromStr;

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use serde::Serialize;

use crate::session::Timestamp;
use crate::wire::dead_letter::{
    ATTEMPTS, ERROR, Failure, OMITTED, PENDING_ACTIONS, REASON, REDRIVE_HISTORY, SOURCE_OFFSET,
    SOURCE_PARTITION, SOURCE_TOPIC,
};
use crate::wire::time;

/// Where a letter is: `expired_sessions.dlq/0/42`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// The topic, prefix included.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A dead letter as it was read.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) id: LetterId,
    pub(crate) at: Timestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A dead letter in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// As `sundown dlq list` names it.
    pub id: String,
    /// Since when it is here, RFC 3339.
    pub dead_since: String,
    /// Why, from a closed set.
    pub reason: String,
    /// What is wrong, for people.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The actions that have not run; terminal events only.
    pub pending_actions: Vec<String>,
    /// The session that it is about, as far as it can be told.
    pub session: Option<String>,
    /// How often it has been tried again from here.
    pub retried: usize,
}

impl DeadLetter {
    pub(crate) fn read(record: &BorrowedMessage<'_>) -> Self {
        let headers = record.headers().into_iter().flat_map(Headers::iter);
        Self {
            id: LetterId {
                topic: record.topic().to_owned(),
                partition: record.partition(),
                offset: record.offset(),
            },
            at: Timestamp::from_millis(record.timestamp().to_millis().unwrap_or_default()),
            key: record.key().map(<[u8]>::to_vec),
            value: record.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    /// The last header of that name: a record may have had one before it died.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter().rev();
        let (_, value) = headers.find(|(other, _)| other == name)?;
        str::from_utf8(value.as_deref()?).ok()
    }

    /// Why it is here, from a closed set.
    pub(crate) fn reason(&self) -> &str {
        self.header(REASON).unwrap_or("unknown")
    }

    /// The actions that have not run; terminal events only.
    pub(crate) fn pending_actions(&self) -> impl Iterator<Item = &str> {
        let names = self.header(PENDING_ACTIONS).unwrap_or_default().split(',');
        names.filter(|name| !name.is_empty())
    }

    /// The session that it is about, as far as it can be told.
    pub(crate) fn session(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Fields {
            session_id: String,
        }
        let value = self.value.as_deref().unwrap_or_default();
        if let Ok(fields) = serde_json::from_slice::<Fields>(value) {
            return Some(fields.session_id);
        }
        let key = self.key.as_deref()?;
        str::from_utf8(key).ok().map(str::to_owned)
    }

    /// The partition that it came from.
    pub(crate) fn source_partition(&self) -> Option<i32> {
        self.header(SOURCE_PARTITION)?.parse().ok()
    }

    /// Whether its contents were too large to be kept here.
    pub(crate) fn is_truncated(&self) -> bool {
        self.header(OMITTED).is_some()
    }

    /// What went wrong before it was last tried again, the latest last.
    pub(crate) fn history(&self) -> Vec<Failure> {
        let header = self.header(REDRIVE_HISTORY).unwrap_or("[]");
        serde_json::from_str(header).unwrap_or_default()
    }

    /// What went wrong the last time.
    pub(crate) fn failure(&self) -> Failure {
        let part = |name| self.header(name).unwrap_or("?");
        let (topic, partition) = (part(SOURCE_TOPIC), part(SOURCE_PARTITION));
        Failure {
            reason: self.reason().to_owned(),
            error: self.header(ERROR).unwrap_or_default().to_owned(),
            attempts: self.attempts(),
            at: time::format(self.at),
            source: format!("{topic}/{partition}/{}", part(SOURCE_OFFSET)),
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            id: self.id.to_string(),
            dead_since: time::format(self.at),
            reason: self.reason().to_owned(),
            error: self.header(ERROR).unwrap_or_default().to_owned(),
            attempts: self.attempts(),
            pending_actions: self.pending_actions().map(str::to_owned).collect(),
            session: self.session(),
            retried: self.history().len(),
        }
    }

    fn attempts(&self) -> u32 {
        let attempts = self.header(ATTEMPTS).and_then(|text| text.parse().ok());
        attempts.unwrap_or_default()
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
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
            "'{text}' is not of the form TOPIC/PARTITION/OFFSET, as `sundown dlq list` shows it"
        ))
    }
}
