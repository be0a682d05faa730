//! Session events, to JSON: what `sundown produce`, `logout` and `revoke` write.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::time;
use crate::session::{EventKind, Timestamp};

/// A session event, ready to be written.
#[derive(Clone, Debug, Serialize)]
pub struct SessionEvent<'a> {
    /// Whose session: a JSON number or string; see [`user_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a RawValue>,
    /// Which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<&'a str>,
    /// When it happened.
    #[serde(serialize_with = "rfc3339")]
    pub activity_timestamp: Timestamp,
    /// What happened.
    #[serde(
        rename = "event",
        serialize_with = "name",
        skip_serializing_if = "is_activity"
    )]
    pub kind: EventKind,
    /// What the event says of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<&'a BTreeMap<&'a str, &'a str>>,
}

impl SessionEvent<'_> {
    /// The JSON, as a record's value.
    ///
    /// # Errors
    /// Never, as far as anyone knows: every such event has a form in JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// A user id as JSON: a number if it reads as a whole number and is not `forced` to be a
/// string; a string otherwise. The two are different users.
///
/// # Errors
/// Never, as far as anyone knows: every text has a form in JSON.
pub fn user_id(text: &str, forced: bool) -> serde_json::Result<Box<RawValue>> {
    if !forced && is_whole_number(text) {
        return RawValue::from_string(text.to_owned());
    }
    RawValue::from_string(serde_json::to_string(text)?)
}

/// Whether JSON knows the text as a whole number: digits without leading zeros.
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
    reason = "the form that serde asks for"
)]
fn name<S: Serializer>(kind: &EventKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        EventKind::Activity => "activity",
        EventKind::Login => "login",
        EventKind::Logout => "logout",
        EventKind::Revoke => "revoke",
    })
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_activity(kind: &EventKind) -> bool {
    *kind == EventKind::Activity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::event::decode::decode;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            user in ".{1,20}",
            forced: bool,
            session in ".{1,20}",
            millis in 0..4_102_444_800_000_i64,
            kind in prop::sample::select(vec![
                EventKind::Activity, EventKind::Login, EventKind::Logout, EventKind::Revoke,
            ]),
        ) {
            let user_id = user_id(&user, forced).unwrap();
            let attributes = BTreeMap::from([("tenant", "acme")]);
            let written = SessionEvent {
                user_id: Some(&user_id),
                session_id: Some(&session),
                activity_timestamp: Timestamp::from_millis(millis),
                kind,
                attributes: Some(&attributes),
            };
            let json = written.to_json().unwrap();
            let decoded = decode(Some(&json)).unwrap();
            let read = decoded.event();
            let crate::session::Subject::Session { id, user: Some(read_user) } = read.subject else {
                panic!("{:?}", read.subject)
            };
            prop_assert_eq!(id, session.as_str());
            prop_assert_eq!(read_user.text, user.as_str());
            prop_assert_eq!(read_user.number, !forced && is_whole_number(&user));
            prop_assert_eq!(read.at, written.activity_timestamp);
            prop_assert_eq!(read.kind, kind);
            prop_assert_eq!(read.attributes.and_then(|all| all.get("tenant")), Some("acme"));
        }
    }

    #[test]
    fn whole_numbers_are_numbers_unless_told_otherwise() {
        for (text, forced, json) in [
            ("123", false, "123"),
            ("-5", false, "-5"),
            ("0", false, "0"),
            ("123", true, "\"123\""),
            ("007", false, "\"007\""),
            ("1e5", false, "\"1e5\""),
            ("-", false, "\"-\""),
            ("a\"b", false, "\"a\\\"b\""),
        ] {
            assert_eq!(user_id(text, forced).unwrap().get(), json, "{text}");
        }
    }
}
