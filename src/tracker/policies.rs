//! Where a tracker's policies come from: a file, or the topic that the controller and
//! `sundown policy` write.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::args::TrackerArgs;
use crate::kafka::Topics;
use crate::kafka::topic_feed::TopicFeed;
use crate::policy::file::{PolicyFile, PolicyFileError};
use crate::policy::pauses::{PausableRole, Pauses};
use crate::policy::topic::{PolicyUpdate, watch};
use crate::session::{Policy, PolicySet};
use crate::tracker::metrics::TrackerMetrics;

/// The receivers of policies and pauses.
pub(super) struct PolicyReceivers {
    /// The active policies.
    pub(super) policies: Receiver<Arc<PolicySet>>,
    /// The paused partitions.
    pub(super) pauses: Receiver<BTreeSet<i32>>,
}

/// The source of a tracker's policies.
pub(super) enum PolicySource {
    /// A file, with the policies that were read from it.
    File {
        path: PathBuf,
        file: PolicyFile,
        policies: Arc<PolicySet>,
    },
    /// The topic, with the policy of sessions that none of its policies matches.
    Topic { fallback: Policy },
}

impl PolicySource {
    /// Opens the source that the flags name.
    ///
    /// # Errors
    /// If the file cannot be read, or a policy in it is invalid.
    pub(super) fn open(args: &TrackerArgs) -> Result<Self, PolicyFileError> {
        let fallback = Policy::built_in(args.idle_timeout, args.absolute_timeout);
        let Some(path) = &args.policies else {
            return Ok(Self::Topic { fallback });
        };
        let (file, policies) = PolicyFile::open(path, fallback)?;
        let path = path.clone();
        Ok(Self::File {
            path,
            file,
            policies,
        })
    }

    /// Gives the policies and the pauses as soon as they are known, and whenever they
    /// change. The topic is followed in any case: pauses are there.
    ///
    /// # Errors
    /// If the topic's reader cannot be set up.
    pub(super) fn start(
        self,
        config: &ClientConfig,
        topics: &Topics,
        metrics: &TrackerMetrics,
        stop: &CancellationToken,
    ) -> anyhow::Result<PolicyReceivers> {
        let feed = TopicFeed::start(config, &topics.policies, stop.clone())?;
        let (sender, policies_known) = channel();
        let (pause, pauses) = channel();
        let pause = move |paused: &Pauses| drop(pause.send(paused.of(PausableRole::Tracker)));
        // Nobody listens any more only when the process is going.
        let give = move |policies| drop(sender.send(policies));
        match self {
            Self::File {
                path,
                file,
                policies,
            } => {
                let topic = &topics.policies;
                tracing::info!(path = %path.display(), topic, "the file's policies are in force, the topic's are not");
                give(policies);
                file.watch(stop.clone(), give)?;
                watch(feed, move |update| {
                    if let PolicyUpdate::Pauses(paused) = update {
                        pause(paused);
                    }
                })?;
            }
            Self::Topic { fallback } => {
                let metrics = metrics.clone();
                watch(feed, move |update| match update {
                    PolicyUpdate::Policies(store) => give(Arc::new(store.policy_set(&fallback))),
                    PolicyUpdate::Pauses(paused) => pause(paused),
                    PolicyUpdate::Rejected => metrics.policy_rejected(),
                })?;
            }
        }
        Ok(PolicyReceivers {
            policies: policies_known,
            pauses,
        })
    }
}
