//! The second stage, pure: validates the API server's policies.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;

use super::namespace_limits::NamespaceLimits;
use super::overlap::Comparison;
use crate::policy::document::{API_VERSION, KIND, Metadata, SessionPolicy, SessionPolicySpec};
use crate::policy::record;
use crate::session::PolicySet;
use crate::wire::routing::RoutingKey;

/// The validated resources of the API server, by `namespace/name`.
#[derive(Debug)]
pub struct Validation<Spec> {
    pub valid: BTreeMap<String, ValidResource<Spec>>,
    pub rejected: BTreeMap<String, Rejection>,
}

impl<Spec> Default for Validation<Spec> {
    fn default() -> Self {
        Self {
            valid: BTreeMap::new(),
            rejected: BTreeMap::new(),
        }
    }
}

/// A resource that may be published.
#[derive(Clone, Debug)]
pub struct ValidResource<Spec> {
    pub spec: Spec,
    /// The value of its record.
    pub value: String,
}

/// Why a resource is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason of the condition `Ready`.
    pub reason: &'static str,
    /// The problem and the remedy.
    pub problem: String,
}

impl Rejection {
    #[must_use]
    pub fn invalid(problem: String) -> Self {
        Self {
            reason: "Invalid",
            problem,
        }
    }
}

/// What this installation can and may enforce, beyond what makes a policy valid.
#[derive(Debug)]
pub struct PolicyRules {
    /// The routing key of the trackers.
    pub routing_key: RoutingKey,
    pub limits: NamespaceLimits,
}

impl PolicyRules {
    fn check(&self, document: SessionPolicy) -> Result<SessionPolicy, Rejection> {
        if let Some(problem) = session_limit_problem(&document.spec, self.routing_key) {
            return Err(Rejection::invalid(problem));
        }
        let namespace = document.metadata.namespace.as_deref().unwrap_or_default();
        match self.limits.problem(namespace, &document.spec) {
            Some(problem) => Err(Rejection {
                reason: "NotPermitted",
                problem,
            }),
            None => Ok(document),
        }
    }
}

impl<Spec> ValidResource<Spec> {
    /// Returns whether this is the value of the resource's record.
    #[must_use]
    pub fn is_published(&self, value: Option<&Vec<u8>>) -> bool {
        value.is_some_and(|value| value == self.value.as_bytes())
    }
}

/// Validates the policies. At the limit of active policies, `foreign` ones of other owners
/// included, `published` policies take precedence over new ones.
#[must_use]
pub fn validate(
    objects: &BTreeMap<String, DynamicObject>,
    published: &BTreeMap<String, Vec<u8>>,
    foreign: usize,
    rules: &PolicyRules,
) -> Validation<SessionPolicySpec> {
    let mut validation = Validation::default();
    let known = objects
        .iter()
        .filter(|(name, _)| published.contains_key(*name));
    let new = objects
        .iter()
        .filter(|(name, _)| !published.contains_key(*name));
    for (name, object) in known.chain(new) {
        let document = to_document(object).map_err(Rejection::invalid);
        let rejection = match document.and_then(|document| rules.check(document)) {
            Ok(_) if foreign + validation.valid.len() >= PolicySet::MAX => {
                let limit = PolicySet::MAX;
                Rejection {
                    reason: "TooManyPolicies",
                    problem: format!(
                        "the limit of {limit} active policies has been reached: delete some"
                    ),
                }
            }
            Ok(document) => {
                let value = record::encode(&document);
                let spec = document.spec;
                let policy = ValidResource { spec, value };
                validation.valid.insert(name.clone(), policy);
                continue;
            }
            Err(rejection) => rejection,
        };
        validation.rejected.insert(name.clone(), rejection);
    }
    validation
}

/// Returns what keeps the trackers from enforcing the session limit of a policy.
fn session_limit_problem(spec: &SessionPolicySpec, routing_key: RoutingKey) -> Option<String> {
    let is_unknown = spec.max_sessions.is_some() && routing_key != RoutingKey::UserId;
    is_unknown.then(|| {
        "spec.maxSessions: needs all sessions of a user on one partition: start trackers and controller with --routing-key user_id (in the chart, tracker.routingKey: user_id)".to_owned()
    })
}

/// Converts an object to a document, and validates it beyond the API server's schema.
fn to_document(object: &DynamicObject) -> Result<SessionPolicy, String> {
    let document = SessionPolicy {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: metadata_of(object),
        spec: spec_of(object, "policy")?,
    };
    document.to_policy().map_err(|error| error.to_string())?;
    Ok(document)
}

/// Returns the metadata of a document for this object.
pub(super) fn metadata_of(object: &DynamicObject) -> Metadata {
    let generation = object.metadata.generation.unwrap_or(1);
    Metadata {
        name: object.name_any(),
        namespace: object.namespace(),
        generation: Some(u64::try_from(generation).unwrap_or(1).max(1)),
    }
}

/// Decodes the `spec` of an object. `noun` names its kind in the error.
pub(super) fn spec_of<Spec: DeserializeOwned>(
    object: &DynamicObject,
    noun: &str,
) -> Result<Spec, String> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    serde_json::from_value(spec).map_err(|error| {
        format!("spec: {error}; apply the {noun} again, in the format that sundown crd prints")
    })
}

/// Which policies of the same priority match the same sessions as a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    None,
    /// These can match the same sessions; the first by name wins.
    With(Vec<String>),
    /// The policies have too many globs to compare.
    Undetermined,
}

/// Finds valid policies that can match the same sessions as another policy of the same
/// priority. `foreign` are active policies of other owners: of other namespaces, or written
/// with `sundown policy`.
#[must_use]
pub fn ambiguities<'a>(
    valid: &'a BTreeMap<String, ValidResource<SessionPolicySpec>>,
    foreign: impl IntoIterator<Item = (&'a str, &'a SessionPolicySpec)>,
) -> BTreeMap<String, Ambiguity> {
    let own = valid.iter();
    let own = own.map(|(name, policy)| (name.as_str(), &policy.spec));
    let all: Vec<_> = own.chain(foreign).collect();
    let mut found: BTreeMap<String, Ambiguity> = valid
        .keys()
        .map(|name| (name.clone(), Ambiguity::None))
        .collect();
    let mut comparison = Comparison::default();
    for (index, (name, spec)) in all.iter().enumerate() {
        for (other, other_spec) in &all[index + 1..] {
            if spec.priority != other_spec.priority {
                continue;
            }
            let overlap = comparison.overlap(spec, other_spec);
            for (one, another) in [(name, other), (other, name)] {
                if let Some(entry) = found.get_mut(*one) {
                    entry.add(another, overlap);
                }
            }
        }
    }
    found
}

impl Ambiguity {
    fn add(&mut self, other: &str, overlap: Option<bool>) {
        match (&mut *self, overlap) {
            (Self::With(others), Some(true)) => others.push(other.to_owned()),
            (_, Some(true)) => *self = Self::With(vec![other.to_owned()]),
            (Self::None, None) => *self = Self::Undetermined,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(name: &str, spec: &Value) -> (String, DynamicObject) {
        let object = json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {"name": name, "namespace": "ns", "generation": 4}, "spec": spec,
        });
        (
            format!("ns/{name}"),
            serde_json::from_value(object).unwrap(),
        )
    }

    fn rules(routing_key: RoutingKey) -> PolicyRules {
        PolicyRules {
            routing_key,
            limits: NamespaceLimits::default(),
        }
    }

    #[test]
    fn objects_are_valid_or_rejected() {
        let objects = BTreeMap::from([
            object("good", &json!({"idleTimeout": "1h"})),
            object(
                "contradicts",
                &json!({"idleTimeout": "1h", "warnBefore": "2h"}),
            ),
            object("future", &json!({"idleTimeout": "1h", "geofence": "eu"})),
            object("broken", &json!("nonsense")),
        ]);
        let validation = validate(&objects, &BTreeMap::new(), 0, &rules(RoutingKey::SessionId));
        let good: Value = serde_json::from_str(&validation.valid["ns/good"].value).unwrap();
        let metadata = json!({"name": "good", "namespace": "ns", "generation": 4});
        assert_eq!(good["metadata"], metadata);
        for (name, words) in [
            ("ns/contradicts", "less than idleTimeout"),
            ("ns/future", "geofence"),
            ("ns/broken", "spec"),
        ] {
            let Rejection { reason, problem } = &validation.rejected[name];
            assert_eq!(*reason, "Invalid");
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn session_limits_need_routing_by_user() {
        let spec = json!({"idleTimeout": "1h", "maxSessions": 3});
        let objects = BTreeMap::from([object("limited", &spec)]);
        let validated = |key| validate(&objects, &BTreeMap::new(), 0, &rules(key));
        assert!(
            validated(RoutingKey::UserId)
                .valid
                .contains_key("ns/limited")
        );
        let rejected = validated(RoutingKey::SessionId).rejected;
        let problem = &rejected["ns/limited"].problem;
        assert!(problem.contains("--routing-key user_id"), "{problem}");
    }

    #[test]
    fn at_the_bound_published_policies_stay_valid() {
        let objects = BTreeMap::from([
            object("a", &json!({"idleTimeout": "1h"})),
            object("b", &json!({"idleTimeout": "1h"})),
        ]);
        let published = BTreeMap::from([("ns/b".to_owned(), Vec::new())]);
        let validation = validate(
            &objects,
            &published,
            PolicySet::MAX - 1,
            &rules(RoutingKey::SessionId),
        );
        assert_eq!(validation.valid.keys().collect::<Vec<_>>(), ["ns/b"]);
        assert_eq!(validation.rejected["ns/a"].reason, "TooManyPolicies");
    }

    #[test]
    fn policies_of_one_priority_that_overlap_are_ambiguous() {
        let objects = BTreeMap::from([
            object("a", &json!({"idleTimeout": "1h"})),
            object("b", &json!({"idleTimeout": "1h"})),
            object("higher", &json!({"idleTimeout": "1h", "priority": 1})),
        ]);
        let valid = validate(&objects, &BTreeMap::new(), 0, &rules(RoutingKey::SessionId)).valid;
        let (_, foreign) = object("default", &json!({"idleTimeout": "1h"}));
        let mut foreign = to_document(&foreign).unwrap();
        foreign.metadata.namespace = None;
        let foreign = [("default", &foreign.spec)];
        let found = ambiguities(&valid, foreign);
        let with = |names: [&str; 2]| Ambiguity::With(names.map(str::to_owned).to_vec());
        assert_eq!(found["ns/a"], with(["ns/b", "default"]));
        assert_eq!(found["ns/b"], with(["ns/a", "default"]));
        assert_eq!(found["ns/higher"], Ambiguity::None);
        assert_eq!(found.len(), 3);
    }
}
