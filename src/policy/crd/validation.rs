//! The validation of policies by Kubernetes, and its messages.
//!
//! The CEL rules run in the API server, and without one through
//! [`super::super::document::SessionPolicyResource::validate_cel`]. Every list, map and string
//! has a bound: the API server estimates the cost of rules from the longest possible values, and
//! rejects a definition that exceeds its budget.

use kube::core::cel::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Well-formed durations, without days: CEL and Go durations have none, and converting them
/// exceeds the API server's cost limit of a rule. Each unit has the digits that ten years need,
/// so that no number can overflow.
const DURATION: &str = "^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$";
/// The longest duration, in characters: all units with all their digits.
const MAX_DURATION_CHARS: u32 = 40;
/// The most attributes of a matcher, and their total length.
const MAX_ATTRIBUTES: u32 = 64;
const MAX_ATTRIBUTES_CHARS: usize = crate::policy::document::MAX_MATCH_ATTRIBUTE_BYTES;
/// The most globs of a matcher, and the longest one.
const MAX_USER_IDS: u32 = 64;
const MAX_USER_ID_CHARS: u32 = 512;
/// The highest session limit of a user.
const MAX_SESSIONS: u32 = crate::policy::document::MAX_SESSIONS_OF_USER;
/// The most actions of a policy, and the longest name of one.
const MAX_ACTIONS: u32 = 32;
const MAX_ACTION_CHARS: u32 = 63;

/// A duration such as `1h30m`: well-formed, more than zero, ten years at most.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    let well_formed = well_formed("self");
    let ten_years = format!("!{well_formed} || duration(self) <= duration('87600h')");
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": MAX_DURATION_CHARS,
        "pattern": DURATION,
        "x-kubernetes-validations": [
            rule(&well_formed, "is not a duration: write it like 90s, 15m, 1h30m or 48h, with larger units first"),
            rule("self.matches('[1-9]') || !self.matches('[0-9]')", "must be more than zero; to keep sessions from timing out, set suspend: true"),
            rule(&ten_years, "must not be longer than ten years (87600h)"),
        ],
    })
}

/// A number of sessions from 1 on.
pub(super) fn max_sessions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int32",
        "x-kubernetes-validations": [rule(
            &format!("self >= 1 && self <= {MAX_SESSIONS}"),
            "must be from 1 to 10000, and needs trackers and controller with --routing-key user_id (in the chart, tracker.routingKey); without maxSessions, a user may have any number of sessions",
        )],
    })
}

/// `spec.warnBefore` < `spec.idleTimeout`.
pub(super) fn warning_before_idle_timeout() -> Rule {
    let rule = comparison("warnBefore", "<", "idleTimeout");
    Rule::new(rule)
        .message("warnBefore must be less than idleTimeout; otherwise every session is warned at its start: shorten warnBefore")
        .field_path(".warnBefore")
}

/// `spec.idleTimeout` <= `spec.absoluteTimeout`.
pub(super) fn idle_before_absolute_timeout() -> Rule {
    let rule = comparison("absoluteTimeout", ">=", "idleTimeout");
    Rule::new(rule)
        .message("absoluteTimeout must be at least idleTimeout; otherwise idleTimeout never applies: lengthen absoluteTimeout or shorten idleTimeout")
        .field_path(".absoluteTimeout")
}

/// `spec.match.attributes`.
pub(super) fn attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_ATTRIBUTES,
        "additionalProperties": {"type": "string", "maxLength": MAX_ATTRIBUTES_CHARS},
        "x-kubernetes-validations": [rule(
            &format!("self.map(name, size(name) + size(self[name])).sum() <= {MAX_ATTRIBUTES_CHARS}"),
            "names and values together must not exceed 1024 characters, the limit of a session",
        )],
    })
}

/// `spec.match.userIds`.
pub(super) fn user_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_USER_IDS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_USER_ID_CHARS},
    })
}

/// `spec.actions`.
pub(super) fn actions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_ACTIONS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_ACTION_CHARS},
        "x-kubernetes-list-type": "set",
    })
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// Compares an optional field with a required one. Malformed durations pass, since another rule
/// rejects them.
fn comparison(field: &str, operator: &str, with: &str) -> String {
    let (field, with) = (format!("self.{field}"), format!("self.{with}"));
    format!(
        "!has({field}) || !{} || !{} || duration({field}) {operator} duration({with})",
        well_formed(&field),
        well_formed(&with)
    )
}

fn well_formed(text: &str) -> String {
    format!("{text}.matches('{DURATION}')")
}
