//! What Kubernetes refuses when a policy is applied, and what it says then.
//!
//! CEL rules, in the API server and, through [`super::super::document::SessionPolicyResource::validate_cel`],
//! without one. Every list, map and text has a bound: the API server reckons with the
//! longest that could come and refuses a definition whose rules might take too long.

use kube::core::cel::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Well-formed durations, without days: CEL's, as Go's, know none, and to work them out
/// costs more than the API server grants a rule. As many digits as ten years take in that
/// unit, so that no number can overflow.
const DURATION: &str = "^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,12}ms)?$";
/// The longest text of a duration: all units with all their digits.
const LONGEST_DURATION: u32 = 40;
/// Attributes of a matcher: as many names, and characters in all, as sessions may have.
const MOST_ATTRIBUTES: u32 = 64;
const LONGEST_ATTRIBUTES: usize = crate::session::attributes::MAX_ATTRIBUTE_BYTES;
/// Globs of a matcher, and the characters of one.
const MOST_USER_IDS: u32 = 64;
const LONGEST_USER_ID: u32 = 512;
/// Actions of a policy, and the characters of a name.
const MOST_ACTIONS: u32 = 32;
const LONGEST_ACTION: u32 = 63;

/// A duration such as `1h30m`: well-formed, more than zero, ten years at most.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    let well_formed = well_formed("self");
    let ten_years = format!("!{well_formed} || duration(self) <= duration('87600h')");
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": LONGEST_DURATION,
        "pattern": DURATION,
        "x-kubernetes-validations": [
            rule(&well_formed, "is not a duration: write it like 90s, 15m, 1h30m or 48h, larger units first"),
            rule("self.matches('[1-9]') || !self.matches('[0-9]')", "must be more than zero; to keep sessions from expiring, set suspend: true"),
            rule(&ten_years, "must not be longer than ten years (87600h)"),
        ],
    })
}

/// `spec.warnBefore` < `spec.idleTimeout`.
pub(super) fn warning_before_idle_timeout() -> Rule {
    let rule = comparison("warnBefore", "<", "idleTimeout");
    Rule::new(rule)
        .message("warnBefore must be less than idleTimeout, or every session would be warned at its start: shorten warnBefore")
        .field_path(".warnBefore")
}

/// `spec.idleTimeout` <= `spec.absoluteTimeout`.
pub(super) fn idle_before_absolute_timeout() -> Rule {
    let rule = comparison("absoluteTimeout", ">=", "idleTimeout");
    Rule::new(rule)
        .message("absoluteTimeout must be at least idleTimeout, or idleTimeout could never pass: lengthen absoluteTimeout or shorten idleTimeout")
        .field_path(".absoluteTimeout")
}

/// `spec.match.attributes`.
pub(super) fn attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MOST_ATTRIBUTES,
        "additionalProperties": {"type": "string", "maxLength": LONGEST_ATTRIBUTES},
        "x-kubernetes-validations": [rule(
            &format!("self.map(name, size(name) + size(self[name])).sum() <= {LONGEST_ATTRIBUTES}"),
            "names and values together must not exceed 1024 characters: no session could match more",
        )],
    })
}

/// `spec.match.userIds`.
pub(super) fn user_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_USER_IDS,
        "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_USER_ID},
    })
}

/// `spec.actions`.
pub(super) fn actions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_ACTIONS,
        "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_ACTION},
        "x-kubernetes-list-type": "set",
    })
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// Compares a field, if it is there, with one that always is. Durations that are not
/// well-formed have been refused for that already.
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
