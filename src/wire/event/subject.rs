//! Decodes which sessions an event concerns.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::attributes::{JsonString, scalar, unescape};
use super::decode_error::DecodeError;
use super::fields::Fields;
use crate::session::{Attributes, EventKind, Subject, UserRef};

/// The longest session or user id, in bytes.
pub(super) const MAX_ID_BYTES: usize = 512;

/// The sessions that an event concerns, borrowed from its record.
#[derive(Debug, PartialEq)]
pub(super) enum DecodedSubject<'a> {
    Session {
        id: Cow<'a, str>,
        user: Option<DecodedUser<'a>>,
    },
    AllSessionsOf {
        user: DecodedUser<'a>,
        except: Option<Cow<'a, str>>,
    },
    Matching(Attributes),
}

#[derive(Debug, PartialEq)]
pub(super) struct DecodedUser<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) number: bool,
}

impl DecodedSubject<'_> {
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            Self::Session { id, user } => Subject::Session {
                id,
                user: user.as_ref().map(DecodedUser::user_ref),
            },
            Self::AllSessionsOf { user, except } => Subject::AllSessionsOf {
                user: user.user_ref(),
                except: except.as_deref(),
            },
            Self::Matching(attributes) => Subject::Matching { attributes },
        }
    }
}

impl DecodedUser<'_> {
    fn user_ref(&self) -> UserRef<'_> {
        UserRef {
            text: &self.text,
            number: self.number,
        }
    }
}

/// Decodes the subject of an event of this kind. Only a logout or a revocation may concern more
/// than one session; in other events, the fields for that are ignored like unknown ones.
pub(super) fn decode<'a>(
    fields: &Fields<'a>,
    kind: EventKind,
    max_attribute_bytes: usize,
) -> Result<DecodedSubject<'a>, DecodeError> {
    let id = fields.session_id.map(session_id).transpose()?;
    let user = fields.user_id.map(user).transpose()?;
    let (except, matches) = match kind {
        EventKind::Logout | EventKind::Revoke => (fields.except_session_id, fields.matches),
        EventKind::Activity | EventKind::Login | EventKind::Rotated => (None, None),
    };
    if except.is_some() && (id.is_some() || user.is_none()) {
        let problem = "needs a user_id, and no session_id".into();
        return Err(invalid("except_session_id", problem));
    }
    if let Some(literal) = matches {
        if id.is_some() || user.is_some() {
            let problem = "excludes session_id and user_id".into();
            return Err(invalid("match", problem));
        }
        return matching(literal, max_attribute_bytes).map(DecodedSubject::Matching);
    }
    match (id, user, kind) {
        (Some(_), None, EventKind::Activity | EventKind::Login) => {
            Err(DecodeError::Missing("user_id"))
        }
        (Some(id), user, _) => Ok(DecodedSubject::Session { id, user }),
        (None, Some(user), EventKind::Logout | EventKind::Revoke) => {
            let except = except.map(|literal| id_of("except_session_id", literal));
            Ok(DecodedSubject::AllSessionsOf {
                user,
                except: except.transpose()?,
            })
        }
        (None, ..) => Err(DecodeError::Missing("session_id")),
    }
}

fn session_id(literal: &str) -> Result<Cow<'_, str>, DecodeError> {
    id_of("session_id", literal)
}

/// Decodes a session id: a string, or a whole number as its digits.
fn id_of<'a>(field: &'static str, literal: &'a str) -> Result<Cow<'a, str>, DecodeError> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let id = if literal.starts_with('"') {
        string(field, literal)?
    } else if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Cow::Borrowed(literal)
    } else {
        let problem = "is neither a string nor a whole number".into();
        return Err(invalid(field, problem));
    };
    check_id(field, &id)?;
    Ok(id)
}

fn user(literal: &str) -> Result<DecodedUser<'_>, DecodeError> {
    let (text, number) = match literal.as_bytes()[0] {
        b'"' => (string("user_id", literal)?, false),
        b'-' | b'0'..=b'9' => (Cow::Borrowed(literal), true),
        _ => {
            return Err(invalid(
                "user_id",
                "is neither a number nor a string".into(),
            ));
        }
    };
    check_id("user_id", &text)?;
    Ok(DecodedUser { text, number })
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
    Err(invalid(field, problem))
}

/// Decodes `match`. Nothing in it is ignored: a part that does not count would widen it.
fn matching(literal: &str, max_bytes: usize) -> Result<Attributes, DecodeError> {
    let problem = |problem: &'static str| invalid("match", problem.into());
    let fields: BTreeMap<JsonString<'_>, &RawValue> =
        serde_json::from_str(literal).map_err(|_| problem("is not an object"))?;
    if fields.is_empty() {
        return Ok(Attributes::default());
    }
    let raw = match fields.iter().next() {
        Some((name, raw)) if fields.len() == 1 && name.0 == "attributes" => raw,
        _ => return Err(problem("has fields other than attributes")),
    };
    let pairs: BTreeMap<JsonString<'_>, &RawValue> = serde_json::from_str(raw.get())
        .map_err(|_| problem("has attributes that are not an object"))?;
    if pairs.is_empty() {
        return Err(problem(
            "has no attributes; an empty object matches all sessions",
        ));
    }
    let mut texts = Vec::with_capacity(pairs.len());
    for (name, value) in &pairs {
        let Ok(Some(text)) = scalar(value.get()) else {
            return Err(problem(
                "has an attribute that is not a string, number or boolean",
            ));
        };
        texts.push((Box::from(&*name.0), Box::from(&*text)));
    }
    let bytes: usize = texts
        .iter()
        .map(|(name, text): &(Box<str>, Box<str>)| name.len() + text.len())
        .sum();
    let attributes = Attributes::new(texts);
    match attributes {
        Ok(attributes) if bytes <= max_bytes => Ok(attributes),
        _ => Err(problem("has larger attributes than a session can have")),
    }
}

/// Unescapes a string literal.
pub(super) fn string<'a>(
    field: &'static str,
    literal: &'a str,
) -> Result<Cow<'a, str>, DecodeError> {
    unescape(literal).map_err(|error| invalid(field, error.to_string().into()))
}

fn invalid(field: &'static str, problem: Cow<'static, str>) -> DecodeError {
    DecodeError::Invalid { field, problem }
}
