//! Validation as in Kubernetes, without an API server: the schema and the CEL rules of the
//! CustomResourceDefinition, and the format of names.

use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, json};

use crate::policy::crd::definition::definition;
use crate::policy::document::SessionPolicySpec;

/// The longest name, in characters: a DNS subdomain name (RFC 1123), as in Kubernetes.
const MAX_NAME_CHARS: usize = 253;

/// The schema of the definition.
struct DefinitionRules {
    schema: Value,
    compiled: CompiledSchema,
}

static RULES: LazyLock<DefinitionRules> = LazyLock::new(|| {
    let definition = serde_json::to_value(definition()).unwrap_or_default();
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema");
    let schema = schema.cloned().unwrap_or_default();
    DefinitionRules {
        compiled: compile_schema(&schema),
        schema,
    }
});

/// Validates a name, and returns the problem.
pub(crate) fn name_problem(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_plain)
            && label.ends_with(is_plain)
            && label.chars().all(|c| is_plain(c) || c == '-')
    };
    if name == "built-in" {
        Some("is reserved for the timeouts of the trackers' flags: choose another name")
    } else if name.len() > MAX_NAME_CHARS || !name.split('.').all(is_label) {
        Some("is not a valid Kubernetes name: use at most 253 lower-case letters, digits, - and .")
    } else {
        None
    }
}

/// Validates a spec, and returns the problems with their fields.
pub(super) fn spec_problems(spec: &SessionPolicySpec) -> Vec<String> {
    let object = json!({"spec": spec});
    let mut problems = Vec::new();
    check_bounds(&RULES.schema, &object, "", &mut problems);
    let evaluated = Validator::new().validate_compiled(&RULES.compiled, &object, None);
    for error in evaluated.err().into_iter().flatten() {
        let field = error.field_path.trim_start_matches('.');
        problems.push(format!("{field}: {}", error.message));
    }
    problems
}

/// Checks the bounds of the schema. Deserialization has checked types and field names, and CEL
/// rules cover the patterns with better messages.
fn check_bounds(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let bound = |keyword: &str| {
        schema[keyword]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
    };
    let mut at_most = |keyword, count: usize, unit| match bound(keyword) {
        Some(max) if count > max => {
            problems.push(format!(
                "{path}: must have at most {max} {unit}, has {count}"
            ));
        }
        _ => {}
    };
    match value {
        Value::String(text) => {
            at_most("maxLength", text.chars().count(), "characters");
            if bound("minLength").is_some_and(|min| text.chars().count() < min) {
                problems.push(format!("{path}: '{text}' is too short"));
            }
        }
        Value::Array(items) => {
            at_most("maxItems", items.len(), "items");
            for (index, item) in items.iter().enumerate() {
                check_bounds(
                    &schema["items"],
                    item,
                    &format!("{path}[{index}]"),
                    problems,
                );
                let is_set = schema["x-kubernetes-list-type"] == "set";
                if is_set && items[..index].contains(item) {
                    problems.push(format!(
                        "{path}[{index}]: duplicate value {item}: remove one"
                    ));
                }
            }
        }
        Value::Object(fields) => {
            at_most("maxProperties", fields.len(), "entries");
            for (name, field) in fields {
                let named = &schema["properties"][name];
                let schema = if named.is_null() {
                    &schema["additionalProperties"]
                } else {
                    named
                };
                let dot = if path.is_empty() { "" } else { "." };
                check_bounds(schema, field, &format!("{path}{dot}{name}"), problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keywords that `check_bounds`, deserialization or CEL rules enforce.
    const ENFORCED: [&str; 15] = [
        "additionalProperties",
        "default",
        "description",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minLength",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ];

    fn keywords(schema: &Value, found: &mut Vec<String>) {
        let Value::Object(fields) = schema else {
            return;
        };
        for (keyword, value) in fields {
            found.push(keyword.clone());
            match (keyword.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    properties
                        .values()
                        .for_each(|schema| keywords(schema, found));
                }
                ("items" | "additionalProperties", schema) => keywords(schema, found),
                _ => {}
            }
        }
    }

    fn problems(spec: Value) -> Vec<String> {
        spec_problems(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_keyword_of_the_definition_is_enforced() {
        assert_eq!(RULES.compiled.compilation_errors().len(), 0);
        let mut found = Vec::new();
        keywords(&RULES.schema["properties"]["spec"], &mut found);
        assert!(found.contains(&"x-kubernetes-validations".to_owned()));
        found.retain(|keyword| !ENFORCED.contains(&keyword.as_str()));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn valid_policies_pass() {
        let full = json!({
            "idleTimeout": "24h", "absoluteTimeout": "24h1ms", "warnBefore": "23h59m", "priority": -1,
            "match": {"attributes": {"tenant": "acme"}, "userIds": ["svc-*"]},
            "actions": ["audit", "revoke"], "suspend": true,
        });
        for spec in [full, json!({"idleTimeout": "90s"})] {
            assert_eq!(problems(spec), Vec::<String>::new());
        }
    }

    #[test]
    fn violations_are_reported_with_their_field() {
        let globs = vec!["a"; 65];
        for (spec, expected) in [
            (
                json!({"idleTimeout": "0s"}),
                "spec.idleTimeout: must be more than zero",
            ),
            (
                json!({"idleTimeout": "1h", "warnBefore": "1h"}),
                "spec.warnBefore: warnBefore must be less than idleTimeout",
            ),
            (
                json!({"idleTimeout": "1h", "absoluteTimeout": "59m"}),
                "spec.absoluteTimeout: absoluteTimeout must be at least idleTimeout",
            ),
            (
                json!({"idleTimeout": "1h", "match": {"userIds": globs}}),
                "spec.match.userIds: must have at most 64 items, has 65",
            ),
            (
                json!({"idleTimeout": "1h", "match": {"userIds": [""]}}),
                "spec.match.userIds[0]: '' is too short",
            ),
            (
                json!({"idleTimeout": "1h", "actions": ["a", "a"]}),
                "spec.actions[1]: duplicate value \"a\"",
            ),
            (
                json!({"idleTimeout": "1h", "actions": ["a".repeat(64)]}),
                "spec.actions[0]: must have at most 63 characters, has 64",
            ),
        ] {
            let problems = problems(spec);
            assert!(
                problems.iter().any(|problem| problem.starts_with(expected)),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn names_are_valid_as_in_kubernetes() {
        for name in ["a", "default", "acme.mobile-2"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        let long = "a".repeat(MAX_NAME_CHARS + 1);
        for name in [
            "", "shop/web", "Acme", "-a", "a-", "a..b", "a_b", "built-in", &long,
        ] {
            assert!(name_problem(name).is_some(), "{name}");
        }
    }
}
