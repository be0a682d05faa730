//! Limits on the policies of namespaces, as the operator of the installation sets them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use crate::policy::document::SessionPolicySpec;

/// The key of the limits on namespaces that have none of their own.
const OTHERS: &str = "*";

/// Limits by namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct NamespaceLimits(BTreeMap<String, NamespaceLimit>);

/// The limits on the policies of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NamespaceLimit {
    /// What each policy has to match, so that it applies to no other sessions.
    #[serde(default, rename = "match")]
    matches: RequiredMatch,
    /// The highest priority.
    max_priority: Option<i32>,
    /// The actions that policies may name; all without it.
    actions: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequiredMatch {
    attributes: BTreeMap<String, String>,
}

impl NamespaceLimits {
    /// Reads the YAML file of `--namespace-limits`; no limits without one.
    ///
    /// # Errors
    /// If the file cannot be read or decoded.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        Self::read_file(path)
            .with_context(|| format!("check --namespace-limits: {}", path.display()))
    }

    fn read_file(path: &Path) -> anyhow::Result<Self> {
        let text = bounded::read_text_file(path, MAX_DOCUMENT_BYTES)?;
        // A file of comments alone has no limits.
        let limits: Option<Self> = serde_yaml::from_str(&text)?;
        Ok(limits.unwrap_or_default())
    }

    /// Returns how a policy of `namespace` exceeds the limits, with the remedy.
    #[must_use]
    pub fn problem(&self, namespace: &str, spec: &SessionPolicySpec) -> Option<String> {
        let limit = self.0.get(namespace).or_else(|| self.0.get(OTHERS))?;
        limit.problem(spec)
    }
}

impl NamespaceLimit {
    fn problem(&self, spec: &SessionPolicySpec) -> Option<String> {
        let matched = spec.matches.as_ref().map(|matches| &matches.attributes);
        for (name, value) in &self.matches.attributes {
            if matched.and_then(|matched| matched.get(name)) != Some(value) {
                return Some(format!(
                    "spec.match.attributes: policies of this namespace must have {name}: {value}"
                ));
            }
        }
        if let Some(max) = self.max_priority
            && spec.priority > max
        {
            return Some(format!(
                "spec.priority: may be at most {max} in this namespace, and is {}",
                spec.priority
            ));
        }
        let allowed = self.actions.as_ref()?;
        let list = allowed.join(", ");
        let Some(named) = &spec.actions else {
            return Some(format!(
                "spec.actions: without it all actions run, and this namespace may use these alone: [{list}]"
            ));
        };
        let other = named.iter().find(|name| !allowed.contains(name))?;
        Some(format!(
            "spec.actions: this namespace may use [{list}] alone, not {other}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const LIMITS: &str = "
shop: {match: {attributes: {tenant: shop}}, maxPriority: 99, actions: [audit, mail]}
free: {}
'*': {maxPriority: 0}
";

    fn problem(namespace: &str, spec: &Value) -> Option<String> {
        let limits: NamespaceLimits = serde_yaml::from_str(LIMITS).unwrap();
        let mut spec = spec.clone();
        spec["idleTimeout"] = "1h".into();
        limits.problem(namespace, &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_policy_within_the_limits_of_its_namespace_has_no_problem() {
        let own = json!({"tenant": "shop", "client": "web"});
        let within = json!({
            "match": {"attributes": own}, "priority": 99, "actions": ["mail"],
        });
        assert_eq!(problem("shop", &within), None);
        assert_eq!(problem("free", &json!({"priority": 1000})), None);
        assert_eq!(problem("another", &json!({})), None);
        let none = NamespaceLimits::default();
        let spec = json!({"idleTimeout": "1h", "priority": 1000});
        assert_eq!(
            none.problem("shop", &serde_json::from_value(spec).unwrap()),
            None
        );
    }

    #[test]
    fn each_limit_is_named_with_what_it_allows() {
        let own = json!({"attributes": {"tenant": "shop"}});
        for (namespace, spec, words) in [
            ("shop", json!({}), "must have tenant: shop"),
            (
                "shop",
                json!({"match": {"attributes": {"tenant": "other"}}}),
                "tenant: shop",
            ),
            ("shop", json!({"match": {"userIds": ["*"]}}), "tenant: shop"),
            (
                "shop",
                json!({"match": own, "priority": 100}),
                "at most 99 in this namespace, and is 100",
            ),
            ("shop", json!({"match": own}), "without it all actions run"),
            (
                "shop",
                json!({"match": own, "actions": ["audit", "page"]}),
                "[audit, mail] alone, not page",
            ),
            ("another", json!({"priority": 1}), "at most 0"),
        ] {
            let problem = problem(namespace, &spec).unwrap();
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn the_example_of_the_docs_is_valid() {
        let page = include_str!("../../docs/reference/policies.md");
        let (_, rest) = page.split_once("```yaml namespace-limits\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let limits: NamespaceLimits = serde_yaml::from_str(example).unwrap();
        assert_eq!(limits.0.len(), 2);
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_flag() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("limits.yaml");
        for (text, words) in [
            ("shop: {maxPriorities: 1}", "maxPriorities"),
            ("shop: {match: {userIds: [a]}}", "userIds"),
            ("[shop]", "invalid type"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", NamespaceLimits::read(Some(&path)).unwrap_err());
            assert!(error.contains("--namespace-limits"), "{error}");
            assert!(error.contains(words), "{error}");
        }
        std::fs::write(&path, "# none\n").unwrap();
        let limits = NamespaceLimits::read(Some(&path)).unwrap();
        assert_eq!(limits, NamespaceLimits::default());
    }
}
