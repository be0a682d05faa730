//! The JSON Schema of session events.
//!
//! The decoder accepts every event that matches the schema, and also `null` for absent fields.
//! Limits in bytes have no equivalent in JSON Schema, which counts characters.
#![expect(dead_code, reason = "only the schemas of the types are used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// An event in a user's session: the value of a record of `session_logs` whose key is the
/// session id. Unknown fields are ignored.
#[derive(JsonSchema)]
#[schemars(rename = "SessionEvent", extend(
    "if" = {
        "properties": { "event": { "enum": ["logout", "revoke"] } },
        "required": ["event"]
    },
    "then" = { "anyOf": [{ "required": ["session_id"] }, { "required": ["user_id"] }] },
    "else" = { "required": ["session_id", "user_id"] }
))]
pub struct SessionEventSchema {
    /// Session id: unique among live sessions, at most 512 bytes. A `logout` or `revoke`
    /// without a session id ends every live session of the user.
    #[serde(default)]
    session_id: IdSchema,
    /// User id: a number or a string of at most 512 bytes; the terminal event carries it
    /// unchanged. Optional in a `logout` or `revoke` with a session id.
    #[serde(default)]
    user_id: UserIdSchema,
    /// Time of the event, by the application's clock: RFC 3339 with any offset, or whole
    /// milliseconds since 1970.
    activity_timestamp: TimestampSchema,
    /// Kind of the event.
    #[serde(default)]
    event: EventKindSchema,
    /// Attributes of the session, such as its tenant or client. Policies match on them and
    /// the terminal event carries them. They replace the attributes of earlier events; at
    /// most 1024 bytes in total, names and values.
    #[serde(default)]
    attributes: AttributesSchema,
}

/// A session or user id.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
pub(in crate::wire) struct IdSchema(#[schemars(length(min = 1, max = 512))] String);

/// A user id is a number or a string.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
pub(in crate::wire) enum UserIdSchema {
    /// The literal of a number is preserved digit for digit.
    Number(serde_json::Number),
    /// A string.
    Text(IdSchema),
}

impl Default for UserIdSchema {
    fn default() -> Self {
        Self::Text(IdSchema::default())
    }
}

/// A point in time.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
enum TimestampSchema {
    /// RFC 3339.
    Text(#[schemars(extend("format" = "date-time"))] String),
    /// Milliseconds since 1970, within the years 0 to 9999.
    Millis(#[schemars(range(min = -62_167_219_200_000_i64, max = 253_402_300_799_999_i64))] i64),
}

/// Kind of a session event.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum EventKindSchema {
    /// The user was active: restarts the idle timeout.
    #[default]
    Activity,
    /// The user authenticated: starts the session, or restarts both timeouts of a live one.
    Login,
    /// The user logged out: ends the session immediately.
    Logout,
    /// An administrator revoked the session: ends it immediately.
    Revoke,
}

/// Flat map of strings.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
struct AttributesSchema(BTreeMap<String, String>);
