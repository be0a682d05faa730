//! The source of a tracker's policies: a file, or the topic that the controller and
//! `sundown policy` write.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::args::TrackerArgs;
use crate::kafka::Topics;
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

    /// Starts to send policies and pauses once they are known and after each change. The topic
    /// is read in either case, because it holds the pauses.
    ///
    /// # Errors
    /// If a reader cannot be created or a thread cannot be started.
    pub(super) fn start(
        self,
        config: &ClientConfig,
        topics: &Topics,
        metrics: &TrackerMetrics,
        stop: &CancellationToken,
    ) -> anyhow::Result<PolicyReceivers> {
        let topic = &topics.policies;
        let (policy_sender, policy_receiver) = channel();
        let (pause_sender, pause_receiver) = channel();
        // The receivers are gone only while the process stops.
        let send_policies = move |policies| drop(policy_sender.send(policies));
        let send_pauses =
            move |pauses: &Pauses| drop(pause_sender.send(pauses.of(PausableRole::Tracker)));
        match self {
            Self::File {
                path,
                file,
                policies,
            } => {
                tracing::info!(path = %path.display(), topic, "the policies of the file are active, those of the topic are not");
                send_policies(policies);
                file.watch(stop.clone(), send_policies)?;
                watch(config, topic, stop.clone(), move |update| {
                    if let PolicyUpdate::Pauses(pauses) = update {
                        send_pauses(pauses);
                    }
                })?;
            }
            Self::Topic { fallback } => {
                let metrics = metrics.clone();
                watch(config, topic, stop.clone(), move |update| match update {
                    PolicyUpdate::Policies(store) => {
                        let policies = store.policies().len();
                        tracing::info!(policies, "active policies changed");
                        send_policies(Arc::new(store.policy_set(&fallback)));
                    }
                    PolicyUpdate::Pauses(pauses) => send_pauses(pauses),
                    PolicyUpdate::Rejected => metrics.policy_rejected(),
                })?;
            }
        }
        Ok(PolicyReceivers {
            policies: policy_receiver,
            pauses: pause_receiver,
        })
    }
}
