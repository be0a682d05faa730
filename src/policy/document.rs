//! `SessionPolicy`: the document that defines how long sessions may last.
//!
//! | part | file |
//! |---|---|
//! | the spec | `crd/spec.rs` |
//! | validation by Kubernetes | `crd/validation.rs` |
//! | the status | `crd/status.rs` |
//! | the CustomResourceDefinition | `crd/definition.rs` |
//!
//! [`SessionPolicy`] is the document in files and in `sundown.policies`;
//! [`SessionPolicyResource`] is the resource in Kubernetes, which has a status too.

use std::collections::BTreeMap;

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
/// The longest `spec.match.attributes`, names and values together, in bytes.
pub const MAX_MATCH_ATTRIBUTE_BYTES: usize = 1024;
/// The highest session limit of a user: the sessions of a user are compared one by one.
pub const MAX_SESSIONS_OF_USER: u32 = 10_000;

/// A session policy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPolicy {
    /// `sundown.dev/v1alpha1`.
    pub api_version: String,
    /// `SessionPolicy`.
    pub kind: String,
    /// The name of the policy.
    pub metadata: Metadata,
    /// The rules of the policy.
    pub spec: SessionPolicySpec,
}

/// Identifies a policy. Other metadata of Kubernetes is ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name of the policy.
    pub name: String,
    /// The namespace of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Increases with every change of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// An invalid policy.
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

    /// Validates and compiles the policy.
    ///
    /// # Errors
    /// If the policy is invalid: the field, the problem and the remedy.
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
            // CEL durations in Kubernetes have no days.
            Ok(_) if text.contains('d') => {
                let problem = "uses days: write hours instead, as in 48h".to_owned();
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
                "must be at least idleTimeout ({idle_timeout}); otherwise idleTimeout never applies"
            );
            return Err(fail("spec.absoluteTimeout", problem));
        }
        if warn_before.is_some_and(|warn| warn >= idle_timeout) {
            let problem = format!(
                "must be less than idleTimeout ({idle_timeout}); otherwise every session is warned at its start"
            );
            return Err(fail("spec.warnBefore", problem));
        }
        check_session_limit(spec).map_err(|problem| fail("spec.maxSessions", problem))?;
        let matches = spec.matches.clone().unwrap_or_default();
        let attributes = bounded_attributes(matches.attributes)
            .map_err(|problem| fail("spec.match.attributes", problem))?;
        Ok(Policy {
            name: self.full_name(),
            generation: self.metadata.generation.unwrap_or(1),
            priority: spec.priority,
            idle_timeout,
            absolute_timeout,
            warn_before,
            max_sessions: spec.max_sessions,
            matcher: Matcher {
                attributes,
                user_ids: globs(&matches.user_ids),
            },
            suspend: spec.suspend,
        })
    }
}

fn globs(patterns: &[String]) -> Vec<Glob> {
    patterns.iter().map(|glob| Glob::new(glob)).collect()
}

fn check_session_limit(spec: &SessionPolicySpec) -> Result<(), String> {
    match spec.max_sessions {
        Some(limit) if !(1..=MAX_SESSIONS_OF_USER).contains(&limit) => {
            Err(format!("must be from 1 to {MAX_SESSIONS_OF_USER}"))
        }
        _ => Ok(()),
    }
}

fn bounded_attributes(pairs: BTreeMap<String, String>) -> Result<Attributes, String> {
    let bytes: usize = pairs.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > MAX_MATCH_ATTRIBUTE_BYTES {
        return Err(format!(
            "have {bytes} bytes, more than the limit of {MAX_MATCH_ATTRIBUTE_BYTES}"
        ));
    }
    Attributes::new(pairs).map_err(|error| error.to_string())
}
