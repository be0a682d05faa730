//! `sundown policy apply`.

use super::input::KIND;
use super::input::{FileArgs, read_valid};
use crate::output;
use crate::policy::document::{SessionPolicy, SessionPolicySpec};
use crate::policy::store::Store;
use crate::policy::topic::PolicyState;
use crate::session::PolicySet;

/// What becomes of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    Configured,
    Unchanged,
}

impl Change {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

pub(super) async fn run(args: &FileArgs, store: &Store) -> anyhow::Result<()> {
    let policies = read_valid(&args.filename)?;
    let book = store.read().await?;
    let mut planned = Vec::new();
    for (mut document, _) in policies {
        if let Some(namespace) = document.metadata.namespace.take() {
            let name = &document.metadata.name;
            output::note(format_args!(
                "policy '{name}': its namespace, {namespace}, is left out: that is for Kubernetes"
            ));
        }
        planned.push(plan(&book, document));
    }
    check_room(&book, &planned)?;
    let changed = planned
        .iter()
        .filter(|(change, _)| *change != Change::Unchanged);
    let records = changed.map(|(_, document)| (document.metadata.name.as_str(), Some(document)));
    store.write(records).await?;
    for (change, document) in &planned {
        let name = &document.metadata.name;
        output::line(format_args!("{KIND}/{name} {}", change.as_str()));
    }
    Ok(())
}

/// The document as it is to be written: its generation counts its changes.
fn plan(book: &PolicyState, mut document: SessionPolicy) -> (Change, SessionPolicy) {
    let known = book.document(&document.metadata.name);
    let generation = known.and_then(|known| known.metadata.generation);
    let change = match known {
        None => Change::Created,
        Some(known) if same(&known.spec, &document.spec) => Change::Unchanged,
        Some(_) => Change::Configured,
    };
    let step = u64::from(change != Change::Unchanged);
    document.metadata.generation = Some(generation.unwrap_or_default() + step);
    (change, document)
}

/// Whether two specs say the same, as they are written.
fn same(one: &SessionPolicySpec, other: &SessionPolicySpec) -> bool {
    let value = |spec| serde_json::to_value(spec).unwrap_or_default();
    value(one) == value(other)
}

fn check_room(book: &PolicyState, planned: &[(Change, SessionPolicy)]) -> anyhow::Result<()> {
    let created = planned
        .iter()
        .filter(|(change, _)| *change == Change::Created);
    let count = book.policies().len() + created.count();
    anyhow::ensure!(
        count <= PolicySet::MAX,
        "there would be {count} policies, more than the {} that can be in force at once: delete some; nothing has been written",
        PolicySet::MAX
    );
    Ok(())
}
