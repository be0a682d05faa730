//! Decodes session events from JSON.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fast_path;
use super::fields::Fields;
use crate::session::{Attributes, Event, EventKind, Subject, Timestamp, UserRef};
use crate::wire::time;

/// The longest session or user id, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// A valid session event, borrowed from its record.
#[derive(Debug, PartialEq)]
pub struct Decoded<'a> {
    session: Option<Cow<'a, str>>,
    user: Option<DecodedUser<'a>>,
    at: Timestamp,
    kind: EventKind,
    attributes: Option<Attributes>,
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
}

impl DecodeError {
    /// All values of [`DecodeError::code`].
    pub const CODES: [&str; 4] = ["no_value", "malformed", "missing_field", "invalid_field"];

    /// The error code for headers and metrics, from [`DecodeError::CODES`].
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Malformed(_) => "malformed",
            Self::Missing(_) => "missing_field",
            Self::Invalid { .. } => "invalid_field",
        }
    }
}

/// The fields of any JSON session event, with JSON literals as written.
#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    session_id: Option<BorrowedStr<'a>>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    activity_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<BorrowedStr<'a>>,
    attributes: Option<BTreeMap<String, String>>,
}

/// Makes serde borrow: it does not borrow a `Cow` directly within an `Option`.
#[derive(Deserialize)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

/// Decodes the value of a record of the session event topic.
///
/// # Errors
/// [`DecodeError`] if it is not a session event; the record then belongs in the dead-letter
/// topic.
pub fn decode(value: Option<&[u8]>) -> Result<Decoded<'_>, DecodeError> {
    let value = value.ok_or(DecodeError::NoValue)?;
    let fields = fast_path::parse(value).map_or_else(|| parse(value), Ok)?;
    let at = fields
        .activity_timestamp
        .ok_or(DecodeError::Missing("activity_timestamp"))
        .and_then(timestamp)?;
    let kind = fields
        .event
        .map_or(Ok(EventKind::Activity), |name| kind(&name))?;
    let session = fields.session_id;
    if let Some(id) = &session {
        check_id("session_id", id)?;
    }
    let user = fields.user_id.map(user).transpose()?;
    let ends_session = matches!(kind, EventKind::Logout | EventKind::Revoke);
    match (&session, &user) {
        (None, None) => return Err(DecodeError::Missing("session_id")),
        (None, Some(_)) if !ends_session => return Err(DecodeError::Missing("session_id")),
        (Some(_), None) if !ends_session => return Err(DecodeError::Missing("user_id")),
        _ => {}
    }
    let attributes = fields.attributes.map(Attributes::new).transpose();
    let attributes = attributes.map_err(|error| DecodeError::Invalid {
        field: "attributes",
        problem: format!("are too large: {error}").into(),
    })?;
    Ok(Decoded {
        session,
        user,
        at,
        kind,
        attributes,
    })
}

impl Decoded<'_> {
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
            (None, user) => Subject::AllSessionsOf(user.unwrap_or(UserRef {
                text: "",
                number: false,
            })),
        };
        Event {
            subject,
            at: self.at,
            kind: self.kind,
            attributes: self.attributes.as_ref(),
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
        session_id: raw.session_id.map(|id| id.0),
        user_id: raw.user_id.map(RawValue::get),
        activity_timestamp: raw.activity_timestamp.map(RawValue::get),
        event: raw.event.map(|name| name.0),
        attributes: raw.attributes,
    })
}

fn check_id(field: &'static str, id: &str) -> Result<(), DecodeError> {
    let problem = if id.is_empty() {
        "is empty".into()
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
        _ => Err(DecodeError::Invalid {
            field: "event",
            problem: "is not one of activity, login, logout, revoke".into(),
        }),
    }
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

fn timestamp(literal: &str) -> Result<Timestamp, DecodeError> {
    let at = if literal.starts_with('"') {
        time::parse(&string("activity_timestamp", literal)?)
    } else {
        let millis = literal.parse().ok().map(Timestamp::from_millis);
        millis.filter(|at| (time::EARLIEST..=time::LATEST).contains(at))
    };
    at.ok_or_else(|| DecodeError::Invalid {
        field: "activity_timestamp",
        problem:
            "is neither RFC 3339 nor whole milliseconds since 1970, within the years 0 to 9999"
                .into(),
    })
}

/// Unescapes a string literal.
fn string<'a>(field: &'static str, literal: &'a str) -> Result<Cow<'a, str>, DecodeError> {
    let content = literal.get(1..literal.len() - 1).unwrap_or_default();
    if !content.contains('\\') {
        return Ok(Cow::Borrowed(content));
    }
    let unescaped = serde_json::from_str(literal).map_err(|error| DecodeError::Invalid {
        field,
        problem: error.to_string().into(),
    })?;
    Ok(Cow::Owned(unescaped))
}
