//! `SessionPolicy`: the document in which people write how long sessions may last.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::session::{Attributes, Matcher, Policy, Span};
use crate::wire::duration;

/// The `apiVersion` of session policies.
pub const API_VERSION: &str = "sundown.dev/v1alpha1";
/// The `kind` of session policies.
pub const KIND: &str = "SessionPolicy";

/// A session policy as it is written in YAML.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPolicy {
    /// `sundown.dev/v1alpha1`.
    pub api_version: String,
    /// `SessionPolicy`.
    pub kind: String,
    /// What the policy is called.
    pub metadata: Metadata,
    /// The rules.
    pub spec: SessionPolicySpec,
}

/// What a policy is called. Whatever else Kubernetes keeps here is ignored.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The policy's name.
    pub name: String,
    /// The namespace it lives in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Rises with every change of the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// The rules of a session policy. Durations are written like `90s`, `15m` or `1h30m`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPolicySpec {
    /// The longest time without activity; more than zero.
    pub idle_timeout: String,
    /// The longest time since the start or the last login, activity or not; at least
    /// the idle timeout. Without it, an active session may last for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<String>,
    /// How long before its end a warning of it is written; more than zero, less than
    /// the idle timeout. Without it, no warnings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_before: Option<String>,
    /// The highest priority that matches a session wins; ties go by name.
    #[serde(default)]
    pub priority: i32,
    /// Which sessions the policy is for; without it, all.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<Match>,
    /// Names of the handler actions to run for sessions under this policy; without it,
    /// all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// Incident switch: while true, sessions of this policy never expire. Logouts and
    /// revocations still end them.
    #[serde(default)]
    pub suspend: bool,
}

/// Which sessions a policy is for. All of it has to fit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Attributes that the session has to have, with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Globs (`*` any text, `?` one character), one of which the session's user id has
    /// to match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_ids: Vec<String>,
}

/// A policy that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SessionPolicy '{policy}': {field}: {problem}")]
pub struct PolicyError {
    policy: String,
    field: &'static str,
    problem: String,
}

impl SessionPolicy {
    /// `namespace/name`, or the bare name outside Kubernetes.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.metadata.namespace {
            Some(namespace) => format!("{namespace}/{}", self.metadata.name),
            None => self.metadata.name.clone(),
        }
    }

    /// Checks the policy and makes it ready for use.
    ///
    /// # Errors
    /// [`PolicyError`] naming the field, the problem and the remedy.
    pub fn to_policy(&self) -> Result<Policy, PolicyError> {
        let fail = |field, problem| PolicyError {
            policy: self.full_name(),
            field,
            problem,
        };
        if self.api_version != API_VERSION || self.kind != KIND {
            let found = format!("{} {}", self.api_version, self.kind);
            return Err(fail(
                "apiVersion, kind",
                format!("found {found}, expected {API_VERSION} {KIND}"),
            ));
        }
        if self.metadata.name.is_empty() {
            return Err(fail(
                "metadata.name",
                "is empty: give the policy a name".to_owned(),
            ));
        }
        let spec = &self.spec;
        let positive = |field, text: &str| match duration::parse(text) {
            Ok(Span::ZERO) => Err(fail(field, "must be more than zero".to_owned())),
            Ok(span) => Ok(span),
            Err(error) => Err(fail(field, error.to_string())),
        };
        let idle_timeout = positive("spec.idleTimeout", &spec.idle_timeout)?;
        let optional = |field, text: &Option<String>| {
            text.as_deref()
                .map(|text| positive(field, text))
                .transpose()
        };
        let absolute_timeout = optional("spec.absoluteTimeout", &spec.absolute_timeout)?;
        let warn_before = optional("spec.warnBefore", &spec.warn_before)?;
        if absolute_timeout.is_some_and(|absolute| absolute < idle_timeout) {
            let problem = format!(
                "must be at least idleTimeout ({idle_timeout}), or idleTimeout could never pass"
            );
            return Err(fail("spec.absoluteTimeout", problem));
        }
        if warn_before.is_some_and(|warn| warn >= idle_timeout) {
            let problem = format!(
                "must be less than idleTimeout ({idle_timeout}), or every session would be warned at its start"
            );
            return Err(fail("spec.warnBefore", problem));
        }
        let matches = spec.matches.clone().unwrap_or_default();
        let attributes = Attributes::new(matches.attributes)
            .map_err(|error| fail("spec.match.attributes", error.to_string()))?;
        Ok(Policy {
            name: self.full_name(),
            generation: self.metadata.generation.unwrap_or(1),
            priority: spec.priority,
            idle_timeout,
            absolute_timeout,
            warn_before,
            matcher: Matcher {
                attributes,
                user_ids: matches
                    .user_ids
                    .iter()
                    .map(|glob| WildMatch::new(glob))
                    .collect(),
            },
            suspend: spec.suspend,
        })
    }
}
