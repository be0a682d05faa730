//! Which actions the policies in force name, and which partitions are paused: what a handler
//! has to know of the policy topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::ClientConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kafka::topic_feed::TopicFeed;
use crate::policy::pauses::PausableRole;
use crate::policy::topic;
use crate::policy::topic::{PolicyState, PolicyUpdate};
use crate::processes::ActivePolicy;

/// The actions that each policy names, and the pauses, as `sundown.policies` has it by now. Clones share
/// one view.
#[derive(Clone, Debug)]
pub struct PolicyActions {
    view: watch::Receiver<Option<View>>,
    paused: watch::Receiver<BTreeSet<i32>>,
}

#[derive(Clone, Debug, Default)]
struct View {
    actions: BTreeMap<String, Arc<[String]>>,
    in_force: Vec<ActivePolicy>,
}

impl PolicyActions {
    /// Follows `topic` until `stop`; `refused` is called for each record of it that cannot
    /// be used.
    ///
    /// # Errors
    /// If the reader cannot be set up.
    pub fn start(
        config: &ClientConfig,
        topic: &str,
        stop: CancellationToken,
        refused: impl Fn() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let followed = TopicFeed::start(config, topic, stop)?;
        let (sender, view) = watch::channel(None);
        let (pause, paused) = watch::channel(BTreeSet::new());
        topic::watch(followed, move |news| match news {
            PolicyUpdate::InForce(book) => drop(sender.send_replace(Some(View::new(book)))),
            PolicyUpdate::Paused(pauses) => {
                pause.send_replace(pauses.of(PausableRole::Handler));
            }
            PolicyUpdate::Refused => refused(),
        })?;
        Ok(Self { view, paused })
    }

    /// The partitions of terminal events that somebody has paused; known as soon as the
    /// policies are.
    #[must_use]
    pub fn paused(&self) -> watch::Receiver<BTreeSet<i32>> {
        self.paused.clone()
    }

    /// Waits until the topic has been read to its end. Before, no policy is known.
    /// Whether it has been; not if told to stop first.
    pub async fn known(&self) -> bool {
        let mut view = self.view.clone();
        view.wait_for(Option::is_some).await.is_ok()
    }

    /// The names of the actions for sessions that ended under `policy`. `None` stands for
    /// all: the policy names none, or is not in force any more. Rather a token revoked
    /// that might have stayed than one left that should not.
    #[must_use]
    pub fn of(&self, policy: &str) -> Option<Arc<[String]>> {
        self.view.borrow().as_ref()?.actions.get(policy).cloned()
    }

    /// The policies in force, for process reports.
    #[must_use]
    pub fn in_force(&self) -> Vec<ActivePolicy> {
        let view = self.view.borrow();
        view.as_ref()
            .map(|view| view.in_force.clone())
            .unwrap_or_default()
    }
}

impl View {
    fn new(book: &PolicyState) -> Self {
        let actions = book.documents().filter_map(|(name, document)| {
            let actions = document.spec.actions.as_deref()?;
            Some((name.to_owned(), actions.into()))
        });
        let in_force = book.policies().map(|policy| ActivePolicy {
            name: policy.name.clone(),
            generation: policy.generation,
            sessions: None,
        });
        Self {
            actions: actions.collect(),
            in_force: in_force.collect(),
        }
    }
}
