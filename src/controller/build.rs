//! The third stage, pure: what has to be written.

use std::collections::BTreeMap;

use kube::api::DynamicObject;

use super::validate::Validation;
use super::watch::Scope;
use crate::policy::record;

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its key.
    pub name: String,
    /// Its value; none for a tombstone.
    pub value: Option<String>,
}

/// What makes the topic agree with the API server: records that are missing or differ, and
/// tombstones for policies that are gone. Policies that are refused keep the record that
/// they have; keys that are not of this controller's namespaces are left alone.
#[must_use]
pub fn writes(
    scope: &Scope,
    objects: &BTreeMap<String, DynamicObject>,
    judged: &Validation,
    published: &BTreeMap<String, Vec<u8>>,
) -> Vec<Write> {
    let wanted = judged.valid.iter().filter_map(|(name, document)| {
        let value = record::encode(document);
        let there = published
            .get(name)
            .is_some_and(|there| there == value.as_bytes());
        (!there).then(|| Write {
            name: name.clone(),
            value: Some(value),
        })
    });
    let gone = published
        .keys()
        .filter(|name| scope.owns(name) && !objects.contains_key(*name))
        .map(|name| Write {
            name: name.clone(),
            value: None,
        });
    wanted.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_made_to_agree() {
        let object: DynamicObject = serde_json::from_value(serde_json::json!({
            "apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
            "metadata": {"name": "p", "namespace": "ns", "generation": 1},
            "spec": {"idleTimeout": "1h"},
        }))
        .unwrap();
        let objects = BTreeMap::from([("ns/p".to_owned(), object)]);
        let scope = Scope::Namespaces(vec!["ns".to_owned()]);
        let judged = super::super::validate::validate(&objects, &BTreeMap::new(), 0);
        let stale = |name: &str| (name.to_owned(), b"{}".to_vec());
        let mut published = BTreeMap::from([
            stale("ns/p"),
            stale("ns/gone"),
            stale("other/gone"),
            stale("default"),
        ]);
        let todo = writes(&scope, &objects, &judged, &published);
        let names: Vec<_> = todo
            .iter()
            .map(|write| (write.name.as_str(), write.value.is_some()))
            .collect();
        assert_eq!(names, [("ns/p", true), ("ns/gone", false)]);
        for write in todo {
            match write.value {
                Some(value) => published.insert(write.name, value.into_bytes()),
                None => published.remove(&write.name),
            };
        }
        assert_eq!(writes(&scope, &objects, &judged, &published), []);
    }
}
