//! The JSON Schema of session events.
//!
//! The decoder accepts every event that matches the schema, and also `null` for absent fields.
//! Limits in bytes have no equivalent in JSON Schema, which counts characters, and neither has
//! the literal of a number: an integer session id is written in digits only.
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
    "then" = { "oneOf": [
        {
            "required": ["session_id"],
            "not": { "anyOf": [{ "required": ["match"] }, { "required": ["except_session_id"] }] }
        },
        {
            "required": ["user_id"],
            "not": { "anyOf": [{ "required": ["match"] }, { "required": ["session_id"] }] }
        },
        {
            "required": ["match"],
            "not": { "anyOf": [
                { "required": ["session_id"] },
                { "required": ["user_id"] },
                { "required": ["except_session_id"] }
            ] }
        }
    ] },
    "else" = {
        "if": { "properties": { "event": { "const": "rotated" } }, "required": ["event"] },
        "then": { "required": ["session_id"] },
        "else": { "required": ["session_id", "user_id"] }
    }
))]
pub struct SessionEventSchema {
    /// Session id: unique among live sessions, at most 512 bytes. An integer counts as its
    /// digits. A `logout` or `revoke` without a session id ends every live session of the user.
    #[serde(default)]
    session_id: SessionIdSchema,
    /// User id: a number or a string of at most 512 bytes; the terminal event carries it
    /// unchanged. Optional in a `logout` or `revoke` with a session id.
    #[serde(default)]
    user_id: UserIdSchema,
    /// Time of the event, by the application's clock: RFC 3339 with any offset, or a number or
    /// string of digits since 1970, whose magnitude selects the unit: seconds below 1e11,
    /// milliseconds below 1e14, microseconds below 1e17, and nanoseconds. Without it, the
    /// record's timestamp counts.
    #[serde(default)]
    activity_timestamp: TimestampSchema,
    /// Kind of the event.
    #[serde(default)]
    event: EventKindSchema,
    /// Attributes of the session, such as its tenant or client. Policies match on them and
    /// the terminal event carries them. They replace the attributes of earlier events. Numbers
    /// and booleans count as text. The largest beyond 1024 bytes in total (`--max-attributes`),
    /// names and values, are dropped.
    #[serde(default)]
    attributes: AttributesSchema,
    /// In a `logout` or `revoke` of all sessions of a user: a session that goes on.
    #[serde(default)]
    except_session_id: SessionIdSchema,
    /// In a `logout` or `revoke`: ends every live session that it matches.
    #[serde(default, rename = "match")]
    matches: MatchSchema,
    /// In an event that ends sessions: who ends them.
    #[serde(default)]
    by: String,
    /// In an event that ends sessions: why.
    #[serde(default)]
    note: String,
}

/// Matches the sessions that have all of these attributes; all sessions if it is empty.
#[derive(Default, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct MatchSchema {
    /// At most 1024 bytes, names and values.
    #[serde(default)]
    attributes: MatchAttributesSchema,
}

/// Flat map with at least one attribute.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
struct MatchAttributesSchema(
    #[schemars(extend("minProperties" = 1))] BTreeMap<String, MatchAttributeSchema>,
);

/// An attribute to match.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
enum MatchAttributeSchema {
    /// A string.
    Text(String),
    /// Counts as its text.
    Number(serde_json::Number),
    /// Counts as its text.
    Boolean(bool),
}

/// A session or user id.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
pub(in crate::wire) struct IdSchema(#[schemars(length(min = 1, max = 512))] String);

/// A session id is a string or an integer.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
enum SessionIdSchema {
    /// A string.
    Text(IdSchema),
    /// Counts as its digits.
    Number(i64),
}

impl Default for SessionIdSchema {
    fn default() -> Self {
        Self::Text(IdSchema::default())
    }
}

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
    /// A number as text.
    Digits(#[schemars(regex(pattern = r"^[0-9]{1,20}(\.[0-9]{1,20})?$"))] String),
    /// A number.
    Number(#[schemars(range(min = 0.0, max = 1e20))] f64),
}

impl Default for TimestampSchema {
    fn default() -> Self {
        Self::Text(String::new())
    }
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
    /// Another session id has replaced this one, at a login or a change of privileges: ends it
    /// without notifying anyone by default.
    Rotated,
}

/// Flat map.
#[derive(Default, JsonSchema)]
#[schemars(inline)]
struct AttributesSchema(BTreeMap<String, AttributeSchema>);

/// An attribute.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
enum AttributeSchema {
    /// A string.
    Text(String),
    /// Counts as its text.
    Number(serde_json::Number),
    /// Counts as its text.
    Boolean(bool),
    /// Counts as absent.
    Null(()),
}
