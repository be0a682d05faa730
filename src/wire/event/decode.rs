//! Decodes session events from JSON.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::attributes::{self, DroppedAttributes, unescape};
use super::fields::Fields;
use super::wrapping::{self, Wrapping};
use super::{event_time, fast_path};
use crate::session::{Attributes, Event, EventKind, Span, Subject, Timestamp, UserRef};
use crate::wire::{duration, time};

/// The longest session or user id, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// Limits on session events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of all attribute names and values of an event; the largest attributes beyond it
    /// are dropped.
    pub max_attribute_bytes: usize,
    /// How much older than its record an event may be.
    pub max_event_age: Span,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_attribute_bytes: 1024,
            max_event_age: Span::from_secs(7 * 86_400),
        }
    }
}

/// A valid session event, borrowed from its record.
#[derive(Debug, PartialEq)]
pub struct Decoded<'a> {
    session: Option<Cow<'a, str>>,
    user: Option<DecodedUser<'a>>,
    at: Timestamp,
    kind: EventKind,
    attributes: Option<Attributes>,
    dropped_attributes: DroppedAttributes,
}

#[derive(Debug, PartialEq)]
struct DecodedUser<'a> {
    text: Cow<'a, str>,
    number: bool,
}

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

/// The fields of any JSON session event, with JSON literals as written.
#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    activity_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<BorrowedStr<'a>>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
}

/// Makes serde borrow: it does not borrow a `Cow` directly within an `Option`.
#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// Decodes the value of a record of the session event topic. `record_time` is the record's
/// timestamp ([`SourceRecord::time`](crate::wire::record::SourceRecord::time)), which an event
/// without a time of its own gets.
///
/// # Errors
/// [`DecodeError`] if it is not a session event; the record then belongs in the dead-letter
/// topic.
pub fn decode<'a>(
    value: Option<&'a [u8]>,
    record_time: Option<Timestamp>,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let value = value.ok_or(DecodeError::NoValue)?;
    let fields = fast_path::parse(value).map_or_else(|| parse(value), Ok);
    fields
        .and_then(|fields| validate(fields, record_time, limits))
        .map_err(|error| explain(value, error))
}

fn validate<'a>(
    fields: Fields<'a>,
    record_time: Option<Timestamp>,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let at = event_time(fields.activity_timestamp, record_time)?;
    let kind = fields
        .event
        .map_or(Ok(EventKind::Activity), |name| kind(&name))?;
    let session = fields.session_id.map(session_id).transpose()?;
    let user = fields.user_id.map(user).transpose()?;
    let ends_session = kind.ends_with().is_some();
    match (&session, &user) {
        (None, None) => return Err(DecodeError::Missing("session_id")),
        (None, Some(_)) if !ends_session || kind == EventKind::Rotated => {
            return Err(DecodeError::Missing("session_id"));
        }
        (Some(_), None) if !ends_session => return Err(DecodeError::Missing("user_id")),
        _ => {}
    }
    let (attributes, dropped_attributes) = match fields.attributes {
        Some(raw) => attributes::decode(raw, limits.max_attribute_bytes),
        None => (None, DroppedAttributes::default()),
    };
    check_age(at, record_time, limits)?;
    Ok(Decoded {
        session,
        user,
        at,
        kind,
        attributes,
        dropped_attributes,
    })
}

/// Adds the format of the value to the error if it is a known one.
fn explain(value: &[u8], error: DecodeError) -> DecodeError {
    match wrapping::recognize(value) {
        Some(wrapping) => DecodeError::Wrapped {
            wrapping,
            error: Box::new(error),
        },
        None => error,
    }
}

impl Decoded<'_> {
    /// Returns how many attributes were dropped.
    #[must_use]
    pub fn dropped_attributes(&self) -> DroppedAttributes {
        self.dropped_attributes
    }

    /// Converts to the event type of the session core.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        let user = self.user.as_ref().map(|user| UserRef {
            text: &user.text,
            number: user.number,
        });
        let subject = match (&self.session, user) {
            (Some(id), user) => Subject::Session { id, user },
            // `decode` rejects events with neither id.
            (None, user) => Subject::AllSessionsOf {
                user: user.unwrap_or(UserRef {
                    text: "",
                    number: false,
                }),
                except: None,
            },
        };
        Event {
            subject,
            at: self.at,
            kind: self.kind,
            attributes: self.attributes.as_ref(),
            initiator: None,
        }
    }
}

/// Parses any session event with serde.
fn parse(value: &[u8]) -> Result<Fields<'_>, DecodeError> {
    if !value.trim_ascii_start().starts_with(b"{") {
        // Serde would also accept an array of the fields.
        return Err(DecodeError::Malformed("not a JSON object".to_owned()));
    }
    let raw: RawEvent<'_> =
        serde_json::from_slice(value).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    Ok(Fields {
        session_id: raw.session_id.map(RawValue::get),
        user_id: raw.user_id.map(RawValue::get),
        activity_timestamp: raw.activity_timestamp.map(RawValue::get),
        event: raw.event.map(|name| name.0),
        attributes: raw.attributes.map(RawValue::get),
    })
}

fn check_id(field: &'static str, id: &str) -> Result<(), DecodeError> {
    let problem = if id.is_empty() {
        "is empty".into()
    } else if id.starts_with('\0') {
        "starts with a NUL character".into()
    } else if id.len() > MAX_ID_BYTES {
        format!("has {} bytes; the limit is {MAX_ID_BYTES}", id.len()).into()
    } else {
        return Ok(());
    };
    Err(DecodeError::Invalid { field, problem })
}

fn kind(name: &str) -> Result<EventKind, DecodeError> {
    match name {
        "activity" => Ok(EventKind::Activity),
        "login" => Ok(EventKind::Login),
        "logout" => Ok(EventKind::Logout),
        "revoke" => Ok(EventKind::Revoke),
        "rotated" => Ok(EventKind::Rotated),
        _ => Err(DecodeError::Invalid {
            field: "event",
            problem: "is not one of activity, login, logout, revoke, rotated".into(),
        }),
    }
}

fn session_id(literal: &str) -> Result<Cow<'_, str>, DecodeError> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let id = if literal.starts_with('"') {
        string("session_id", literal)?
    } else if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Cow::Borrowed(literal)
    } else {
        return Err(DecodeError::Invalid {
            field: "session_id",
            problem: "is neither a string nor a whole number".into(),
        });
    };
    check_id("session_id", &id)?;
    Ok(id)
}

fn user(literal: &str) -> Result<DecodedUser<'_>, DecodeError> {
    let (text, number) = match literal.as_bytes()[0] {
        b'"' => (string("user_id", literal)?, false),
        b'-' | b'0'..=b'9' => (Cow::Borrowed(literal), true),
        _ => {
            return Err(DecodeError::Invalid {
                field: "user_id",
                problem: "is neither a number nor a string".into(),
            });
        }
    };
    check_id("user_id", &text)?;
    Ok(DecodedUser { text, number })
}

/// Returns the time of the event: its own, or that of its record.
fn event_time(
    literal: Option<&str>,
    record_time: Option<Timestamp>,
) -> Result<Timestamp, DecodeError> {
    let Some(literal) = literal else {
        return record_time.ok_or(DecodeError::Missing("activity_timestamp"));
    };
    let at = if literal.starts_with('"') {
        event_time::from_text(&string("activity_timestamp", literal)?)
    } else {
        event_time::from_number(literal)
    };
    at.ok_or_else(|| DecodeError::Invalid {
        field: "activity_timestamp",
        problem: "is neither RFC 3339 nor a number of seconds, milliseconds, microseconds or \
                  nanoseconds since 1970, within the years 0 to 9999"
            .into(),
    })
}

fn check_age(
    at: Timestamp,
    record_time: Option<Timestamp>,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    match record_time {
        Some(record) if at + limits.max_event_age < record => Err(DecodeError::ImplausibleTime {
            at,
            record,
            limit: limits.max_event_age,
        }),
        _ => Ok(()),
    }
}

fn string<'a>(field: &'static str, literal: &'a str) -> Result<Cow<'a, str>, DecodeError> {
    unescape(literal).map_err(|error| DecodeError::Invalid {
        field,
        problem: error.to_string().into(),
    })
}
