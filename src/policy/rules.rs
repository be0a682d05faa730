//! What Kubernetes would refuse, found out without it: the schema and the CEL rules of
//! the CustomResourceDefinition, and the form of names.

use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, json};

use crate::policy::crd::definition::definition;
use crate::policy::document::SessionPolicySpec;

/// The longest name, in characters (RFC 1123, and Kubernetes after it).
const LONGEST_NAME: usize = 253;

/// What the definition says of policies.
struct Rules {
    schema: Value,
    compiled: CompiledSchema,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let definition = serde_json::to_value(definition()).unwrap_or_default();
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema");
    let schema = schema.cloned().unwrap_or_default();
    Rules {
        compiled: compile_schema(&schema),
        schema,
    }
});

/// What is wrong with the name, if anything is.
pub(super) fn wrong_name(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_plain)
            && label.ends_with(is_plain)
            && label.chars().all(|c| is_plain(c) || c == '-')
    };
    if name == "built-in" {
        Some("is what the rules of the trackers' flags are called: choose another")
    } else if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
        Some(
            "is not a name that Kubernetes takes: write lower-case letters, digits, - and ., at most 253 of them",
        )
    } else {
        None
    }
}

/// What is wrong with the spec, each with the field that it is about.
pub(super) fn wrong_fields(spec: &SessionPolicySpec) -> Vec<String> {
    let object = json!({"spec": spec});
    let mut problems = Vec::new();
    check(&RULES.schema, &object, "", &mut problems);
    let evaluated = Validator::new().validate_compiled(&RULES.compiled, &object, None);
    for error in evaluated.err().into_iter().flatten() {
        let field = error.field_path.trim_start_matches('.');
        problems.push(format!("{field}: {}", error.message));
    }
    problems
}

/// The bounds of the schema. Types, and which fields there are, have been checked when the
/// document was read; patterns are there for the CEL rules, which say more.
fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let bound = |keyword: &str| {
        schema[keyword]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
    };
    let mut at_most = |keyword, count: usize, what| match bound(keyword) {
        Some(most) if count > most => {
            problems.push(format!(
                "{path}: has {count} {what}, more than {most}: shorten it"
            ));
        }
        _ => {}
    };
    match value {
        Value::String(text) => {
            at_most("maxLength", text.chars().count(), "characters");
            if bound("minLength").is_some_and(|least| text.chars().count() < least) {
                problems.push(format!("{path}: '{text}' is too short"));
            }
        }
        Value::Array(items) => {
            at_most("maxItems", items.len(), "items");
            for (index, item) in items.iter().enumerate() {
                check(
                    &schema["items"],
                    item,
                    &format!("{path}[{index}]"),
                    problems,
                );
                let is_set = schema["x-kubernetes-list-type"] == "set";
                if is_set && items[..index].contains(item) {
                    problems.push(format!(
                        "{path}[{index}]: {item} is there already: remove one"
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
                check(schema, field, &format!("{path}{dot}{name}"), problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `check` sees to, and what others do.
    const KNOWN: [&str; 15] = [
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
        wrong_fields(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_keyword_of_the_definition_is_seen_to() {
        assert_eq!(RULES.compiled.compilation_errors().len(), 0);
        let mut found = Vec::new();
        keywords(&RULES.schema["properties"]["spec"], &mut found);
        assert!(found.contains(&"x-kubernetes-validations".to_owned()));
        found.retain(|keyword| !KNOWN.contains(&keyword.as_str()));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn good_policies_pass() {
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
    fn what_kubernetes_refuses_is_told_with_its_field() {
        let globs = vec!["a"; 65];
        for (spec, told) in [
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
                "spec.match.userIds: has 65 items, more than 64",
            ),
            (
                json!({"idleTimeout": "1h", "match": {"userIds": [""]}}),
                "spec.match.userIds[0]: '' is too short",
            ),
            (
                json!({"idleTimeout": "1h", "actions": ["a", "a"]}),
                "spec.actions[1]: \"a\" is there already",
            ),
            (
                json!({"idleTimeout": "1h", "actions": ["a".repeat(64)]}),
                "spec.actions[0]: has 64 characters, more than 63",
            ),
        ] {
            let problems = problems(spec);
            assert!(
                problems.iter().any(|problem| problem.starts_with(told)),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        for name in ["a", "default", "acme.mobile-2"] {
            assert_eq!(wrong_name(name), None, "{name}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for name in [
            "", "shop/web", "Acme", "-a", "a-", "a..b", "a_b", "built-in", &long,
        ] {
            assert!(wrong_name(name).is_some(), "{name}");
        }
    }
}
