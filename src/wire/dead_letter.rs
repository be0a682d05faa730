//! Dead letters: the source record's bytes untouched, and headers that say why.

use rdkafka::message::{Header, OwnedHeaders};
use serde::{Deserialize, Serialize};

use crate::session::Timestamp;

/// What the names of all headers begin with that only dead letters have.
pub const PREFIX: &str = "sundown-dlq-";
/// Why, from a closed set: `malformed`, `missing_field`, …
pub const REASON: &str = "sundown-dlq-reason";
/// The same for people, at most [`MAX_ERROR_BYTES`] bytes.
pub const ERROR: &str = "sundown-dlq-error";
/// The topic that the record was read from.
pub const SOURCE_TOPIC: &str = "sundown-dlq-source-topic";
/// Its partition there.
pub const SOURCE_PARTITION: &str = "sundown-dlq-source-partition";
/// Its offset there.
pub const SOURCE_OFFSET: &str = "sundown-dlq-source-offset";
/// Its timestamp there, RFC 3339.
pub const SOURCE_TIMESTAMP: &str = "sundown-dlq-source-timestamp";
/// How often it was tried.
pub const ATTEMPTS: &str = "sundown-dlq-attempts";
/// Which actions are still undone, their names joined by commas; on terminal events only.
pub const PENDING_ACTIONS: &str = "sundown-dlq-pending-actions";

/// On a record that was brought back from a dead-letter topic: which actions are to run, as
/// in [`PENDING_ACTIONS`].
pub const REDRIVE_ACTIONS: &str = "sundown-redrive-actions";
/// On such a record: what went wrong before, a JSON array, the latest last.
pub const REDRIVE_HISTORY: &str = "sundown-redrive-history";

/// On a marker, a record without a value in a dead-letter topic: the offset of the letter in
/// the same partition that has been dealt with.
pub const PROCESSED: &str = "sundown-dlq-processed";
/// On a marker: how, `retried` or `discarded`.
pub const PROCESSED_AS: &str = "sundown-dlq-processed-as";

/// How many bytes key, value and headers had that are not here, because the dead-letter
/// topic does not take so many. They are where the other headers say.
pub const OMITTED: &str = "sundown-dlq-omitted-bytes";

/// The longest text in the [`ERROR`] header, in bytes.
pub const MAX_ERROR_BYTES: usize = 1024;

/// What the headers of a dead letter say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// See [`REASON`].
    pub reason: &'static str,
    /// See [`ERROR`].
    pub error: String,
    /// See [`ATTEMPTS`].
    pub attempts: u32,
}

/// What went wrong with a record before it was tried again: an element of
/// [`REDRIVE_HISTORY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// See [`REASON`].
    pub reason: String,
    /// See [`ERROR`].
    pub error: String,
    /// See [`ATTEMPTS`].
    pub attempts: u32,
    /// When it became a dead letter, RFC 3339.
    pub at: String,
    /// Where it was read: topic, partition and offset, joined by slashes.
    pub source: String,
}

/// Where a record was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's timestamp.
    pub timestamp: Timestamp,
}

/// The headers of the dead letter, behind those that the record already had.
#[must_use]
pub fn headers(existing: OwnedHeaders, cause: &Cause, origin: Origin<'_>) -> OwnedHeaders {
    let mut end = cause.error.len().min(MAX_ERROR_BYTES);
    while !cause.error.is_char_boundary(end) {
        end -= 1;
    }
    [
        (REASON, cause.reason.to_owned()),
        (ERROR, cause.error[..end].to_owned()),
        (SOURCE_TOPIC, origin.topic.to_owned()),
        (SOURCE_PARTITION, origin.partition.to_string()),
        (SOURCE_OFFSET, origin.offset.to_string()),
        (SOURCE_TIMESTAMP, super::time::format(origin.timestamp)),
        (ATTEMPTS, cause.attempts.to_string()),
    ]
    .iter()
    .fold(existing, |headers, (key, value)| {
        headers.insert(Header {
            key,
            value: Some(value),
        })
    })
}
