//! What the records of the policy topic say: the active policies and the paused partitions.

use std::collections::BTreeMap;

use crate::kafka::topic_feed::TopicRecord;
use crate::policy::document::SessionPolicy;
use crate::policy::pauses::{Pauses, is_control};
use crate::policy::record::{PolicyRecord, PolicyRecordError, decode};
use crate::session::policy::TooManyPolicies;
use crate::session::{Policy, PolicySet};

/// The active policies and the paused partitions, by the records applied so far. The last
/// valid record of a policy is active.
#[derive(Clone, Debug, Default)]
pub struct PolicyStore {
    policies: BTreeMap<String, ActiveDocument>,
    pauses: Pauses,
}

#[derive(Clone, Debug)]
struct ActiveDocument {
    document: SessionPolicy,
    policy: Policy,
}

/// What a record has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreChange {
    Nothing,
    Policies,
    Pauses,
}

/// Why a record changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecordRejection {
    #[error(transparent)]
    Invalid(#[from] PolicyRecordError),
    #[error("policy '{name}': {source}")]
    TooMany {
        name: String,
        source: TooManyPolicies,
    },
}

impl PolicyStore {
    /// Applies a record of the policy topic, and returns what it changes.
    ///
    /// # Errors
    /// If the record is invalid, or exceeds [`PolicySet::MAX`]; then it changes nothing.
    pub fn apply(&mut self, record: &TopicRecord) -> Result<StoreChange, RecordRejection> {
        self.apply_key_value(record.key.as_deref(), record.value.as_deref())
    }

    fn apply_key_value(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<StoreChange, RecordRejection> {
        let (changed, change) = if is_control(key) {
            (self.pauses.apply(key, value), StoreChange::Pauses)
        } else {
            (self.apply_policy(key, value)?, StoreChange::Policies)
        };
        Ok(if changed {
            change
        } else {
            StoreChange::Nothing
        })
    }

    fn apply_policy(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<bool, RecordRejection> {
        match decode(key, value)? {
            PolicyRecord::Deleted(name) => Ok(self.policies.remove(&name).is_some()),
            PolicyRecord::Active { document, policy } => {
                let known = self.policies.get(&policy.name);
                if known.is_none() && self.policies.len() >= PolicySet::MAX {
                    return Err(RecordRejection::TooMany {
                        name: policy.name,
                        source: TooManyPolicies {
                            count: self.policies.len() + 1,
                        },
                    });
                }
                let changed = known.is_none_or(|known| {
                    known.policy != policy || known.document.spec.actions != document.spec.actions
                });
                let name = policy.name.clone();
                let document = *document;
                self.policies
                    .insert(name, ActiveDocument { document, policy });
                Ok(changed)
            }
        }
    }

    /// The documents, by full name.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = (&str, &SessionPolicy)> {
        let active = self.policies.iter();
        active.map(|(name, active)| (name.as_str(), &active.document))
    }

    /// The document of the policy with this full name.
    #[must_use]
    pub fn document(&self, name: &str) -> Option<&SessionPolicy> {
        self.policies.get(name).map(|active| &active.document)
    }

    /// The compiled policies, with `fallback` for the sessions that none of them matches.
    #[must_use]
    pub fn policy_set(&self, fallback: &Policy) -> PolicySet {
        #[expect(
            clippy::expect_used,
            reason = "`apply` accepts no more than PolicySet::MAX policies"
        )]
        PolicySet::new(self.policies().cloned().collect(), fallback.clone())
            .expect("at most PolicySet::MAX policies")
    }

    /// The compiled policies, by full name.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Policy> {
        self.policies.values().map(|active| &active.policy)
    }

    /// The paused partitions.
    #[must_use]
    pub fn pauses(&self) -> &Pauses {
        &self.pauses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(
        store: &mut PolicyStore,
        name: &str,
        idle: Option<&str>,
    ) -> Result<bool, RecordRejection> {
        let value = idle.map(|idle| {
            format!(
                r#"{{"apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
                    "metadata": {{"name": "{name}", "generation": 1}}, "spec": {{"idleTimeout": "{idle}"}}}}"#
            )
        });
        let value = value.as_ref().map(String::as_bytes);
        let change = store.apply_key_value(Some(name.as_bytes()), value)?;
        Ok(change == StoreChange::Policies)
    }

    fn names(store: &PolicyStore) -> Vec<&str> {
        store.documents().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_last_valid_record_of_a_policy_is_active() {
        let mut store = PolicyStore::default();
        assert!(apply(&mut store, "a", Some("1h")).unwrap());
        assert!(apply(&mut store, "b", Some("1h")).unwrap());
        assert!(!apply(&mut store, "b", Some("1h")).unwrap(), "unchanged");
        assert!(apply(&mut store, "a", Some("0s")).is_err());
        assert_eq!(store.document("a").unwrap().spec.idle_timeout, "1h");
        assert!(apply(&mut store, "b", None).unwrap());
        assert!(!apply(&mut store, "b", None).unwrap());
        assert_eq!(names(&store), ["a"]);
    }

    #[test]
    fn a_pause_is_neither_a_policy_nor_rejected() {
        let mut store = PolicyStore::default();
        let key = Some(b"control:pause:handler:1".as_slice());
        assert_eq!(
            store.apply_key_value(key, Some(b"{}")).unwrap(),
            StoreChange::Pauses
        );
        assert_eq!(
            store.apply_key_value(key, Some(b"{}")).unwrap(),
            StoreChange::Nothing
        );
        let unknown = Some(b"control:of-a-later-release".as_slice());
        assert_eq!(
            store.apply_key_value(unknown, Some(b"?")).unwrap(),
            StoreChange::Nothing
        );
        assert_eq!(store.documents().len(), 0);
        assert_eq!(store.pauses().iter().count(), 1);
        assert_eq!(
            store.apply_key_value(key, None).unwrap(),
            StoreChange::Pauses
        );
    }

    #[test]
    fn at_the_bound_policies_may_change_and_new_ones_are_rejected() {
        let mut store = PolicyStore::default();
        for number in 0..PolicySet::MAX {
            apply(&mut store, &format!("p{number}"), Some("1h")).unwrap();
        }
        let error = apply(&mut store, "one-more", Some("1h")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("policy 'one-more': 1001 policies")
        );
        assert!(apply(&mut store, "p0", Some("2h")).unwrap());
        assert_eq!(store.policies().len(), PolicySet::MAX);
    }
}
