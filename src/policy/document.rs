//! `SessionPolicy`: the document in which people write how long sessions may last.
//!
//! | part | file |
//! |---|---|
//! | the rules, and what Kubernetes keeps of them | `crd/spec.rs` |
//! | what Kubernetes refuses, and what it says then | `crd/validation.rs` |
//! | what the controller answers | `crd/status.rs` |
//! | the CustomResourceDefinition | `crd/definition.rs` |
//!
//! [`SessionPolicy`] is the document in files and in `sundown.policies`;
//! [`SessionPolicyResource`] the same in Kubernetes, where it has a status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::{Attributes, Glob, Matcher, Policy, Span};
use crate::wire::duration;

pub use super::crd::spec::{Match, SessionPolicyResource, SessionPolicySpec};
pub use super::crd::status::SessionPolicyStatus;

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
            // As in Kubernetes, whose rules know none.
            Ok(_) if text.contains('d') => {
                let problem = "has days: write them in hours, as in 48h".to_owned();
                Err(fail(field, problem))
            }
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
                    .map(|glob| Glob::new(glob))
                    .collect(),
            },
            suspend: spec.suspend,
        })
    }
}
