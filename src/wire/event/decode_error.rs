//! Why a record is not a session event.

use std::borrow::Cow;

use super::wrapping::Wrapping;
use crate::session::{Span, Timestamp};
use crate::wire::{duration, time};

/// The reason that a record is not a session event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record has no value. Tombstones have no meaning on a topic without compaction.
    #[error("the record has no value")]
    NoValue,
    /// The value is not JSON, or not an object with the right types.
    #[error("not a session event: {0}")]
    Malformed(String),
    /// A required field is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has an invalid value.
    #[error("{field} {problem}")]
    Invalid {
        field: &'static str,
        problem: Cow<'static, str>,
    },
    /// The event is older than its record by more than the limit.
    #[error(
        "activity_timestamp {} is {} older than the record's timestamp {}; the limit is {} (--max-event-age)",
        time::format(*at), duration::format(record.since(*at)), time::format(*record), duration::format(*limit)
    )]
    ImplausibleTime {
        at: Timestamp,
        record: Timestamp,
        limit: Span,
    },
    /// The value is not a session event but has a known format.
    #[error("{error}; the value looks like {wrapping}: configure a source for it")]
    Wrapped {
        wrapping: Wrapping,
        error: Box<DecodeError>,
    },
}

impl DecodeError {
    /// All values of [`DecodeError::code`].
    pub const CODES: [&str; 5] = [
        "no_value",
        "malformed",
        "missing_field",
        "invalid_field",
        "implausible_time",
    ];

    /// The error code for headers and metrics, from [`DecodeError::CODES`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Malformed(_) => "malformed",
            Self::Missing(_) => "missing_field",
            Self::Invalid { .. } => "invalid_field",
            Self::ImplausibleTime { .. } => "implausible_time",
            Self::Wrapped { error, .. } => error.code(),
        }
    }
}
