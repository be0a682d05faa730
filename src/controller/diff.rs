//! The third stage, pure: the records to write.

use std::collections::BTreeMap;

use kube::api::DynamicObject;

use super::scope::Scope;
use super::validate::Validation;

/// A record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceWrite {
    /// The full name of the resource.
    pub name: String,
    /// The encoded resource; `None` for a tombstone.
    pub value: Option<String>,
}

/// Compares the API server's resources with the published records, by full name, and returns the
/// records to write: valid resources whose record is missing or differs, and tombstones of deleted
/// ones. Rejected resources keep their record, and names outside `scope` are not touched.
#[must_use]
pub fn diff<Spec>(
    scope: &Scope,
    objects: &BTreeMap<String, DynamicObject>,
    validation: &Validation<Spec>,
    published: &BTreeMap<String, Vec<u8>>,
) -> Vec<ResourceWrite> {
    let outdated = validation
        .valid
        .iter()
        .filter(|(name, resource)| !resource.is_published(published.get(*name)))
        .map(|(name, resource)| ResourceWrite {
            name: name.clone(),
            value: Some(resource.value.clone()),
        });
    let deleted = published
        .keys()
        .filter(|name| scope.owns(name) && !objects.contains_key(*name))
        .map(|name| ResourceWrite {
            name: name.clone(),
            value: None,
        });
    outdated.chain(deleted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::namespace_limits::NamespaceLimits;
    use crate::controller::validate::{PolicyRules, validate};
    use crate::wire::routing::RoutingKey;

    #[test]
    fn missing_and_outdated_records_are_written_and_gone_ones_deleted() {
        let object: DynamicObject = serde_json::from_value(serde_json::json!({
            "apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
            "metadata": {"name": "p", "namespace": "ns", "generation": 1},
            "spec": {"idleTimeout": "1h"},
        }))
        .unwrap();
        let objects = BTreeMap::from([("ns/p".to_owned(), object)]);
        let scope = Scope::Namespaces(vec!["ns".to_owned()]);
        let rules = PolicyRules {
            routing_key: RoutingKey::SessionId,
            limits: NamespaceLimits::default(),
        };
        let validation = validate(&objects, &BTreeMap::new(), 0, &rules);
        let stale = |name: &str| (name.to_owned(), b"{}".to_vec());
        let mut published = BTreeMap::from([
            stale("ns/p"),
            stale("ns/gone"),
            stale("other/gone"),
            stale("default"),
        ]);
        let writes = diff(&scope, &objects, &validation, &published);
        let names: Vec<_> = writes
            .iter()
            .map(|write| (write.name.as_str(), write.value.is_some()))
            .collect();
        assert_eq!(names, [("ns/p", true), ("ns/gone", false)]);
        for write in writes {
            match write.value {
                Some(value) => published.insert(write.name, value.into_bytes()),
                None => published.remove(&write.name),
            };
        }
        assert_eq!(diff(&scope, &objects, &validation, &published), []);
    }
}
