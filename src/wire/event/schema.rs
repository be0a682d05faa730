//! The shape of a session event, for its JSON Schema.
//!
//! Whatever fits the schema can be decoded; the decoder also takes `null` for what is
//! absent. Byte counts have no counterpart in JSON Schema, which counts characters.
#![expect(dead_code, reason = "only their schemas are used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// Something that happened in a user's session: one record of `session_logs`. Its key is
/// the session id, its value this object. Fields that are not listed are ignored.
#[derive(JsonSchema)]
#[schemars(extend(
    "if" = {
        "properties": { "event": { "enum": ["logout", "revoke"] } },
        "required": ["event"]
    },
    "then" = { "anyOf": [{ "required": ["session_id"] }, { "required": ["user_id"] }] },
    "else" = { "required": ["session_id", "user_id"] }
))]
pub struct SessionEvent {
    /// Which session: unique among those that live at the same time, at most 512 bytes.
    /// A `logout` or `revoke` without it is about every live session of the user.
    #[serde(default)]
    session_id: Id,
    /// Whose session it is: a number or a string of at most 512 bytes; comes out as it
    /// went in. A `logout` or `revoke` of a session needs none.
    #[serde(default)]
    user_id: UserId,
    /// When it happened, by the clock of the application: RFC 3339 with any offset, or
    /// whole milliseconds since 1970.
    activity_timestamp: Time,
    /// What happened.
    #[serde(default)]
    event: Kind,
    /// What is known of the session, such as its tenant or client. Policies match on it and
    /// the terminal event carries it. Replaces what earlier events said; at most 1024 bytes
    /// in all names and values.
    #[serde(default)]
    attributes: Attributes,
}

/// A session or user id.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
pub(in crate::wire) struct Id(#[schemars(length(min = 1, max = 512))] String);

/// A user id is a number or a string.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
pub(in crate::wire) enum UserId {
    /// The number's literal is kept, digit for digit.
    Number(serde_json::Number),
    /// A string.
    Text(Id),
}

impl Default for UserId {
    fn default() -> Self {
        Self::Text(Id::default())
    }
}

/// A point in time.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
enum Time {
    /// RFC 3339.
    Text(#[schemars(extend("format" = "date-time"))] String),
    /// Milliseconds since 1970, within the years 0 to 9999.
    Millis(#[schemars(range(min = -62_167_219_200_000_i64, max = 253_402_300_799_999_i64))] i64),
}

/// What happened.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Kind {
    /// The user did something: the idle timeout starts anew.
    #[default]
    Activity,
    /// The user authenticated: starts the session, or restarts both clocks of a running one.
    Login,
    /// The user left: the session ends at once.
    Logout,
    /// An administrator ended it: the session ends at once.
    Revoke,
}

/// A flat map of strings.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
struct Attributes(BTreeMap<String, String>);
