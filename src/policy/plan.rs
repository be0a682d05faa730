//! The changes that applying documents makes to the policy topic.

use crate::policy::document::{SessionPolicy, SessionPolicySpec};
use crate::policy::store::PolicyStore;
use crate::session::PolicySet;

/// What applying a document does to its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedChange {
    Created,
    Configured,
    Unchanged,
}

/// A document to apply, with its generation.
#[derive(Clone, Debug)]
pub struct PlannedPolicy {
    pub change: PlannedChange,
    pub document: SessionPolicy,
}

impl PlannedChange {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Compares documents with the active policies of the same names. The generation of a document
/// increases if its spec differs.
///
/// # Errors
/// If there would be more than [`PolicySet::MAX`] active policies.
pub fn plan(
    store: &PolicyStore,
    documents: impl IntoIterator<Item = SessionPolicy>,
) -> anyhow::Result<Vec<PlannedPolicy>> {
    let documents = documents.into_iter();
    let planned: Vec<_> = documents.map(|document| compare(store, document)).collect();
    let created = planned
        .iter()
        .filter(|planned| planned.change == PlannedChange::Created);
    let count = store.policies().len() + created.count();
    anyhow::ensure!(
        count <= PolicySet::MAX,
        "there would be {count} active policies, more than the limit of {}: delete some; nothing has been written",
        PolicySet::MAX
    );
    Ok(planned)
}

fn compare(store: &PolicyStore, mut document: SessionPolicy) -> PlannedPolicy {
    let active = store.document(&document.full_name());
    let change = match active {
        None => PlannedChange::Created,
        Some(active) if equal_as_json(&active.spec, &document.spec) => PlannedChange::Unchanged,
        Some(_) => PlannedChange::Configured,
    };
    let generation = active.and_then(|active| active.metadata.generation);
    let step = u64::from(change != PlannedChange::Unchanged);
    document.metadata.generation = Some(generation.unwrap_or_default() + step);
    PlannedPolicy { change, document }
}

fn equal_as_json(one: &SessionPolicySpec, other: &SessionPolicySpec) -> bool {
    let value = |spec| serde_json::to_value(spec).unwrap_or_default();
    value(one) == value(other)
}
