//! Dead letters: the unchanged bytes of the source record, and headers with the failure.

use rdkafka::message::{Header, OwnedHeaders};
use serde::{Deserialize, Serialize};

use crate::session::Timestamp;

/// Prefix of the headers that only dead letters have.
pub const HEADER_PREFIX: &str = "sundown-dlq-";
/// The reason, from a closed set: `malformed`, `missing_field`, …
pub const REASON: &str = "sundown-dlq-reason";
/// The error message, at most [`MAX_ERROR_BYTES`] bytes.
pub const ERROR: &str = "sundown-dlq-error";
/// The topic of the source record.
pub const SOURCE_TOPIC: &str = "sundown-dlq-source-topic";
/// The partition of the source record.
pub const SOURCE_PARTITION: &str = "sundown-dlq-source-partition";
/// The offset of the source record.
pub const SOURCE_OFFSET: &str = "sundown-dlq-source-offset";
/// The timestamp of the source record, RFC 3339.
pub const SOURCE_TIMESTAMP: &str = "sundown-dlq-source-timestamp";
/// The number of attempts.
pub const ATTEMPTS: &str = "sundown-dlq-attempts";
/// The actions that have not run, comma-separated; terminal events only.
pub const PENDING_ACTIONS: &str = "sundown-dlq-pending-actions";

/// On a redriven record: the actions to run, in the format of [`PENDING_ACTIONS`].
pub const REDRIVE_ACTIONS: &str = "sundown-redrive-actions";
/// On a redriven record: a JSON array of the previous [`FailureRecord`]s, oldest first.
pub const REDRIVE_HISTORY: &str = "sundown-redrive-history";

/// On a marker, a record without a value in a dead-letter topic: the offset of the processed
/// letter in the same partition.
pub const PROCESSED: &str = "sundown-dlq-processed";
/// On a marker: `redriven` or `discarded`.
pub const PROCESSED_AS: &str = "sundown-dlq-processed-as";

/// The size of the omitted key, value and headers, in bytes, if the record exceeds the limit
/// of the dead-letter topic. The source headers locate the original record.
pub const OMITTED: &str = "sundown-dlq-omitted-bytes";

/// The longest value of the [`ERROR`] header, in bytes.
pub const MAX_ERROR_BYTES: usize = 1024;

/// The failure that makes a record a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// See [`REASON`].
    pub reason: &'static str,
    /// See [`ERROR`].
    pub error: String,
    /// See [`ATTEMPTS`].
    pub attempts: u32,
}

/// A failure before a redrive: an element of [`REDRIVE_HISTORY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// See [`REASON`].
    pub reason: String,
    /// See [`ERROR`].
    pub error: String,
    /// See [`ATTEMPTS`].
    pub attempts: u32,
    /// When the record became a dead letter, RFC 3339.
    pub at: String,
    /// The source record: topic, partition and offset, joined by slashes.
    pub source: String,
}

/// The source record of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Timestamp,
}

/// Appends the headers of a dead letter to the headers of its source record.
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
