//! Encodes session events as JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::time;
use crate::session::{EventKind, Timestamp};

/// A session event to encode.
#[derive(Clone, Debug, Serialize)]
pub struct SessionEvent<'a> {
    /// A JSON number or string; see [`user_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<&'a str>,
    #[serde(serialize_with = "rfc3339")]
    pub activity_timestamp: Timestamp,
    #[serde(
        rename = "event",
        serialize_with = "name",
        skip_serializing_if = "is_activity"
    )]
    pub kind: EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<&'a BTreeMap<&'a str, &'a str>>,
    /// A session of the user that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except_session_id: Option<&'a str>,
    /// Selects sessions by attributes instead of ids; all sessions without attributes.
    #[serde(
        rename = "match",
        serialize_with = "matching",
        skip_serializing_if = "Option::is_none"
    )]
    pub matches: Option<&'a BTreeMap<String, String>>,
    /// Who ends the sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'a str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'a str>,
}

impl SessionEvent<'_> {
    /// Creates an event of this kind and time without other fields.
    #[must_use]
    pub fn new(kind: EventKind, activity_timestamp: Timestamp) -> Self {
        Self {
            user_id: None,
            session_id: None,
            activity_timestamp,
            kind,
            attributes: None,
            except_session_id: None,
            matches: None,
            by: None,
            note: None,
        }
    }

    /// Encodes the event as the value of a record.
    ///
    /// # Errors
    /// If serialization fails, which no event is known to cause.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// Encodes a user id as JSON: a number if it is a whole number and `as_string` is false, and
/// a string otherwise. The number and the string identify different users.
///
/// # Errors
/// If serialization fails, which no text is known to cause.
pub fn user_id(text: &str, as_string: bool) -> serde_json::Result<Box<RawValue>> {
    if !as_string && is_whole_number(text) {
        return RawValue::from_string(text.to_owned());
    }
    RawValue::from_string(serde_json::to_string(text)?)
}

/// Whether the text is a whole number in JSON: digits without leading zeros.
fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time::format(*at))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires a reference"
)]
fn name<S: Serializer>(kind: &EventKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        EventKind::Activity => "activity",
        EventKind::Login => "login",
        EventKind::Logout => "logout",
        EventKind::Revoke => "revoke",
        EventKind::Rotated => "rotated",
    })
}

fn matching<S: Serializer>(
    attributes: &Option<&BTreeMap<String, String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct MatchFields<'a> {
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        attributes: &'a BTreeMap<String, String>,
    }
    attributes
        .map(|attributes| MatchFields { attributes })
        .serialize(serializer)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires a reference"
)]
fn is_activity(kind: &EventKind) -> bool {
    *kind == EventKind::Activity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Subject;
    use crate::wire::event::{DecodeLimits, decode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encoded_events_can_be_decoded(
            user in ".{1,20}",
            as_string: bool,
            session in ".{1,20}",
            millis in 0..4_102_444_800_000_i64,
            kind in prop::sample::select(vec![
                EventKind::Activity, EventKind::Login, EventKind::Logout, EventKind::Revoke,
                EventKind::Rotated,
            ]),
        ) {
            prop_assume!(!user.starts_with('\0') && !session.starts_with('\0'));
            let user_id = user_id(&user, as_string).unwrap();
            let attributes = BTreeMap::from([("tenant", "acme")]);
            let encoded = SessionEvent {
                user_id: Some(&user_id),
                session_id: Some(&session),
                attributes: Some(&attributes),
                ..SessionEvent::new(kind, Timestamp::from_millis(millis))
            };
            let json = encoded.to_json().unwrap();
            let decoded = decode(Some(&json), None, &DecodeLimits::default()).unwrap();
            let event = decoded.event();
            let crate::session::Subject::Session { id, user: Some(decoded_user) } = event.subject else {
                panic!("{:?}", event.subject)
            };
            prop_assert_eq!(id, session.as_str());
            prop_assert_eq!(decoded_user.text, user.as_str());
            prop_assert_eq!(decoded_user.number, !as_string && is_whole_number(&user));
            prop_assert_eq!(event.at, encoded.activity_timestamp);
            prop_assert_eq!(event.kind, kind);
            prop_assert_eq!(event.attributes.and_then(|all| all.get("tenant")), Some("acme"));
        }
    }

    #[test]
    fn events_of_many_sessions_can_be_decoded() {
        let user = user_id("7", false).unwrap();
        let at = Timestamp::from_millis(1_738_929_600_000);
        let tenant = BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]);
        let everything = BTreeMap::new();
        let revoke = SessionEvent::new(EventKind::Revoke, at);
        for (event, json) in [
            (
                SessionEvent {
                    user_id: Some(&user),
                    except_session_id: Some("s"),
                    ..revoke.clone()
                },
                r#""user_id":7,"event":"revoke","except_session_id":"s""#,
            ),
            (
                SessionEvent {
                    matches: Some(&tenant),
                    by: Some("ann"),
                    note: Some("why"),
                    ..revoke.clone()
                },
                r#""event":"revoke","match":{"attributes":{"tenant":"acme"}},"by":"ann","note":"why""#,
            ),
            (
                SessionEvent {
                    matches: Some(&everything),
                    ..revoke.clone()
                },
                r#""event":"revoke","match":{}"#,
            ),
        ] {
            let text = String::from_utf8(event.to_json().unwrap()).unwrap();
            let without_time =
                text.replace(r#""activity_timestamp":"2025-02-07T12:00:00.000Z","#, "");
            assert_eq!(without_time, format!("{{{json}}}"));
            let decoded = decode(Some(text.as_bytes()), None, &DecodeLimits::default()).unwrap();
            match decoded.event().subject {
                Subject::AllSessionsOf { user, except } => {
                    assert_eq!((user.text, except), ("7", Some("s")));
                }
                Subject::Matching { attributes } => {
                    assert_eq!(attributes.is_empty(), event.by.is_none());
                }
                Subject::Session { .. } => panic!("{text}"),
            }
        }
    }

    #[test]
    fn whole_numbers_are_encoded_as_numbers_unless_strings_are_requested() {
        for (text, as_string, json) in [
            ("123", false, "123"),
            ("-5", false, "-5"),
            ("0", false, "0"),
            ("123", true, "\"123\""),
            ("007", false, "\"007\""),
            ("1e5", false, "\"1e5\""),
            ("-", false, "\"-\""),
            ("a\"b", false, "\"a\\\"b\""),
        ] {
            assert_eq!(user_id(text, as_string).unwrap().get(), json, "{text}");
        }
    }
}
