//! Decodes session events from JSON.

#[cfg(test)]
mod fast_path_tests;
#[cfg(test)]
mod subject_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::attributes::{self, DroppedAttributes};
use super::decode_error::DecodeError;
use super::fields::Fields;
use super::subject::{self, DecodedSubject};
use super::{event_time, fast_path, initiator, wrapping};
use crate::session::{Attributes, Event, EventKind, Initiator, Span, Timestamp};

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
    subject: DecodedSubject<'a>,
    at: Timestamp,
    kind: EventKind,
    attributes: Option<Attributes>,
    /// Boxed, because few events have one.
    initiator: Option<Box<Initiator>>,
    dropped_attributes: DroppedAttributes,
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
    #[serde(borrow)]
    except_session_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "match")]
    matches: Option<&'a RawValue>,
    #[serde(borrow)]
    by: Option<&'a RawValue>,
    #[serde(borrow)]
    note: Option<&'a RawValue>,
}

/// Makes serde borrow: it does not borrow a `Cow` directly within an `Option`.
#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// Decodes the value of a record of the session event topic. `record_time` is the record's
/// timestamp ([`record_time`](crate::wire::record::record_time)), which an event
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
    let decoded = match fast_path::parse(value) {
        Some(fields) => validate(&fields, record_time, limits),
        None => parse(value).and_then(|fields| validate(&fields, record_time, limits)),
    };
    decoded.map_err(|error| explain(value, error))
}

fn validate<'a>(
    fields: &Fields<'a>,
    record_time: Option<Timestamp>,
    limits: &DecodeLimits,
) -> Result<Decoded<'a>, DecodeError> {
    let at = event_time(fields.activity_timestamp, record_time)?;
    let kind = fields
        .event
        .as_deref()
        .map_or(Ok(EventKind::Activity), kind)?;
    let subject = subject::decode(fields, kind, limits.max_attribute_bytes)?;
    let (attributes, mut dropped_attributes) = match fields.attributes {
        Some(literal) => attributes::decode(literal, limits.max_attribute_bytes),
        None => (None, DroppedAttributes::default()),
    };
    let initiator = initiator::decode(fields, kind, &mut dropped_attributes);
    check_age(at, record_time, limits)?;
    Ok(Decoded {
        subject,
        at,
        kind,
        attributes,
        initiator,
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
        Event {
            subject: self.subject.subject(),
            at: self.at,
            kind: self.kind,
            attributes: self.attributes.as_ref(),
            initiator: self.initiator.as_deref(),
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
        except_session_id: raw.except_session_id.map(RawValue::get),
        matches: raw.matches.map(RawValue::get),
        by: raw.by.map(RawValue::get),
        note: raw.note.map(RawValue::get),
    })
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

/// Returns the time of the event: its own, or that of its record.
fn event_time(
    literal: Option<&str>,
    record_time: Option<Timestamp>,
) -> Result<Timestamp, DecodeError> {
    let Some(literal) = literal else {
        return record_time.ok_or(DecodeError::Missing("activity_timestamp"));
    };
    let at = if literal.starts_with('"') {
        event_time::from_text(&subject::string("activity_timestamp", literal)?)
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
