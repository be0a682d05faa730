//! The part of the policy topic that handlers use: the actions of each policy, and the paused
//! partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::ClientConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::policy::pauses::PausableRole;
use crate::policy::store::PolicyStore;
use crate::policy::topic::{PolicyUpdate, watch as watch_policies};
use crate::processes::ActivePolicy;

/// The actions of each policy, and the pauses, as last read from `sundown.policies`. Clones
/// share one view.
#[derive(Clone, Debug)]
pub struct PolicyActions {
    snapshot: watch::Receiver<Option<PolicySnapshot>>,
    paused: watch::Receiver<BTreeSet<i32>>,
}

#[derive(Clone, Debug, Default)]
struct PolicySnapshot {
    actions: BTreeMap<String, Arc<[String]>>,
    active: Vec<ActivePolicy>,
}

impl PolicyActions {
    /// Reads `topic` until `stop`. Calls `on_rejected` for each record that is not a valid
    /// policy.
    ///
    /// # Errors
    /// If the reader cannot be started.
    pub fn start(
        config: &ClientConfig,
        topic: &str,
        health: &Health,
        stop: CancellationToken,
        on_rejected: impl Fn() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, snapshot) = watch::channel(None);
        let (pause, paused) = watch::channel(BTreeSet::new());
        watch_policies(config, topic, health, stop, move |update| match update {
            PolicyUpdate::Policies(store) => {
                let policies = store.policies().len();
                tracing::info!(policies, "active policies changed");
                drop(sender.send_replace(Some(PolicySnapshot::new(store))));
            }
            PolicyUpdate::Pauses(pauses) => {
                pause.send_replace(pauses.of(PausableRole::Handler));
            }
            PolicyUpdate::Rejected => on_rejected(),
        })?;
        Ok(Self { snapshot, paused })
    }

    /// Policies that are never loaded.
    #[cfg(test)]
    pub(in crate::handler) fn not_loaded() -> Self {
        Self {
            snapshot: watch::channel(None).1,
            paused: watch::channel(BTreeSet::new()).1,
        }
    }

    /// The partitions of terminal events that an operator has paused. Complete once
    /// [`PolicyActions::wait_until_loaded`] returns true.
    #[must_use]
    pub fn paused(&self) -> watch::Receiver<BTreeSet<i32>> {
        self.paused.clone()
    }

    /// Waits until the topic has been read to its end. Returns false if the reader stops
    /// before.
    pub async fn wait_until_loaded(&self) -> bool {
        let mut snapshot = self.snapshot.clone();
        snapshot.wait_for(Option::is_some).await.is_ok()
    }

    /// The names of the actions that run for sessions of `policy`. `None` stands for all
    /// actions: the policy names none or is no longer active. Revoking a token once too often
    /// is safer than keeping one that should be revoked.
    #[must_use]
    pub fn actions_of(&self, policy: &str) -> Option<Arc<[String]>> {
        let snapshot = self.snapshot.borrow();
        snapshot.as_ref()?.actions.get(policy).cloned()
    }

    /// The active policies, for process reports.
    #[must_use]
    pub fn active(&self) -> Vec<ActivePolicy> {
        let snapshot = self.snapshot.borrow();
        snapshot
            .as_ref()
            .map(|snapshot| snapshot.active.clone())
            .unwrap_or_default()
    }
}

impl PolicySnapshot {
    fn new(store: &PolicyStore) -> Self {
        let actions = store.documents().filter_map(|(name, document)| {
            let actions = document.spec.actions.as_deref()?;
            Some((name.to_owned(), actions.into()))
        });
        let active = store.policies().map(|policy| ActivePolicy {
            name: policy.name.clone(),
            generation: policy.generation,
            sessions: None,
        });
        Self {
            actions: actions.collect(),
            active: active.collect(),
        }
    }
}
