//! The second stage: objects become policies, or problems.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::DynamicObject;

use super::overlap::Comparison;
use crate::policy::document::{API_VERSION, KIND, SessionPolicy, SessionPolicySpec};
use crate::policy::record;
use crate::policy::record::PolicyRecord;
use crate::session::PolicySet;

/// Every policy that the API server has, judged.
#[derive(Debug, Default)]
pub struct Validation {
    /// Documents that may be published, by `namespace/name`.
    pub valid: BTreeMap<String, SessionPolicy>,
    /// What is wrong with the others.
    pub refused: BTreeMap<String, Rejection>,
}

/// Why a policy is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It contradicts itself, or is not of this release's form.
    Invalid(String),
    /// There are as many as can be in force.
    TooMany(String),
}

/// Judges the policies. Of more than can be in force, those stay that are `published`.
#[must_use]
pub fn validate(
    objects: &BTreeMap<String, DynamicObject>,
    published: &BTreeMap<String, Vec<u8>>,
    foreign: usize,
) -> Validation {
    let mut judged = Validation::default();
    let known = objects
        .iter()
        .filter(|(name, _)| published.contains_key(*name));
    let new = objects
        .iter()
        .filter(|(name, _)| !published.contains_key(*name));
    for (name, object) in known.chain(new) {
        let refusal = match document(object) {
            Ok(_) if foreign + judged.valid.len() >= PolicySet::MAX => {
                let most = PolicySet::MAX;
                Rejection::TooMany(format!(
                    "there are {most} policies already, the most that can be in force at once: delete some"
                ))
            }
            Ok(document) => {
                judged.valid.insert(name.clone(), document);
                continue;
            }
            Err(problem) => Rejection::Invalid(problem),
        };
        judged.refused.insert(name.clone(), refusal);
    }
    judged
}

/// The document of an object, checked past what the API server has.
fn document(object: &DynamicObject) -> Result<SessionPolicy, String> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let spec: SessionPolicySpec = serde_json::from_value(spec).map_err(|error| {
        format!("spec: {error}; apply the policy again, in the form that sundown crd prints")
    })?;
    let generation = object.metadata.generation.unwrap_or(1);
    let document = SessionPolicy {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: crate::policy::document::Metadata {
            name: object.name_any(),
            namespace: object.namespace(),
            generation: Some(u64::try_from(generation).unwrap_or(1).max(1)),
        },
        spec,
    };
    document.to_policy().map_err(|error| error.to_string())?;
    Ok(document)
}

/// What is known of the policies that a policy shares its priority with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// No other policy of its priority can match the same sessions.
    None,
    /// These can; the first in the order of names wins.
    With(Vec<String>),
    /// There are too many globs to tell.
    Undetermined,
}

/// Which policies share sessions with another of the same priority. Those of `published`
/// that are nobody's object count too: of other namespaces, or written with
/// `sundown policy`.
#[must_use]
pub fn ambiguities(
    valid: &BTreeMap<String, SessionPolicy>,
    published: &BTreeMap<String, Vec<u8>>,
    ours: impl Fn(&str) -> bool,
) -> BTreeMap<String, Ambiguity> {
    let foreign = published.iter().filter(|(name, _)| !ours(name));
    let foreign: Vec<_> = foreign
        .filter_map(
            |(name, value)| match record::decode(Some(name.as_bytes()), Some(value)) {
                Ok(PolicyRecord::InForce { document, .. }) => Some((name.clone(), document.spec)),
                _ => None,
            },
        )
        .collect();
    let ours = valid.iter().map(|(name, document)| (name, &document.spec));
    let all: Vec<_> = ours
        .chain(foreign.iter().map(|(name, spec)| (name, spec)))
        .collect();
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
    use serde_json::json;

    fn object(name: &str, spec: &serde_json::Value) -> (String, DynamicObject) {
        let object = json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {"name": name, "namespace": "ns", "generation": 4}, "spec": spec,
        });
        (
            format!("ns/{name}"),
            serde_json::from_value(object).unwrap(),
        )
    }

    #[test]
    fn objects_become_documents_or_problems() {
        let objects = BTreeMap::from([
            object("good", &json!({"idleTimeout": "1h"})),
            object(
                "contradicts",
                &json!({"idleTimeout": "1h", "warnBefore": "2h"}),
            ),
            object("future", &json!({"idleTimeout": "1h", "geofence": "eu"})),
            object("broken", &json!("nonsense")),
        ]);
        let judged = validate(&objects, &BTreeMap::new(), 0);
        let good = &judged.valid["ns/good"];
        assert_eq!(good.full_name(), "ns/good");
        assert_eq!(good.metadata.generation, Some(4));
        for (name, words) in [
            ("ns/contradicts", "less than idleTimeout"),
            ("ns/future", "geofence"),
            ("ns/broken", "spec"),
        ] {
            let Rejection::Invalid(problem) = &judged.refused[name] else {
                panic!("{name}")
            };
            assert!(problem.contains(words), "{problem}");
        }
    }

    #[test]
    fn at_the_bound_what_is_published_stays() {
        let objects = BTreeMap::from([
            object("a", &json!({"idleTimeout": "1h"})),
            object("b", &json!({"idleTimeout": "1h"})),
        ]);
        let published = BTreeMap::from([("ns/b".to_owned(), Vec::new())]);
        let judged = validate(&objects, &published, PolicySet::MAX - 1);
        assert_eq!(judged.valid.keys().collect::<Vec<_>>(), ["ns/b"]);
        assert!(matches!(judged.refused["ns/a"], Rejection::TooMany(_)));
    }

    #[test]
    fn ambiguous_are_those_of_one_priority_that_meet() {
        let objects = BTreeMap::from([
            object("a", &json!({"idleTimeout": "1h"})),
            object("b", &json!({"idleTimeout": "1h"})),
            object("higher", &json!({"idleTimeout": "1h", "priority": 1})),
        ]);
        let valid = validate(&objects, &BTreeMap::new(), 0).valid;
        let mut default = valid["ns/a"].clone();
        default.metadata.name = "default".to_owned();
        default.metadata.namespace = None;
        let record = record::encode(&default).into_bytes();
        let published = BTreeMap::from([("default".to_owned(), record)]);
        let found = ambiguities(&valid, &published, |name| name.contains('/'));
        let with = |names: [&str; 2]| Ambiguity::With(names.map(str::to_owned).to_vec());
        assert_eq!(found["ns/a"], with(["ns/b", "default"]));
        assert_eq!(found["ns/b"], with(["ns/a", "default"]));
        assert_eq!(found["ns/higher"], Ambiguity::None);
        assert_eq!(found.len(), 3);
    }
}
