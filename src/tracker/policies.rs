//! The source of a tracker's policies: a file, or the topic that the controller and
//! `sundown policy` write.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::args::TrackerArgs;
use crate::health::Health;
use crate::kafka::Topics;
use crate::policy::file::{PolicyFile, PolicyFileError};
use crate::policy::pauses::{PausableRole, Pauses};
use crate::policy::topic::{PolicyUpdate, watch};
use crate::session::{Policy, PolicySet};
use crate::tracker::metrics::TrackerMetrics;
use crate::wire::routing::RoutingKey;

/// The receivers of policies and pauses.
pub(super) struct PolicyReceivers {
    /// The active policies.
    pub(super) policies: Receiver<Arc<PolicySet>>,
    /// The paused partitions.
    pub(super) pauses: Receiver<BTreeSet<i32>>,
}

/// The source of a tracker's policies.
enum PolicySource {
    /// A file, with the policies that were read from it.
    File {
        path: PathBuf,
        file: PolicyFile,
        policies: Arc<PolicySet>,
    },
    /// The topic, with the policy of sessions that none of its policies matches.
    Topic { fallback: Policy },
}

/// A source, and the routing key that decides which of its policies can be enforced.
pub(super) struct RoutedPolicySource {
    source: PolicySource,
    routing_key: RoutingKey,
}

impl RoutedPolicySource {
    /// Opens the source that the flags name.
    ///
    /// # Errors
    /// If the file cannot be read, or a policy in it is invalid.
    pub(super) fn open(args: &TrackerArgs) -> Result<Self, PolicyFileError> {
        let fallback = Policy::built_in(args.idle_timeout, args.absolute_timeout);
        let source = match &args.policies {
            None => PolicySource::Topic { fallback },
            Some(path) => {
                let (file, policies) = PolicyFile::open(path, fallback)?;
                let path = path.clone();
                PolicySource::File {
                    path,
                    file,
                    policies,
                }
            }
        };
        Ok(Self {
            source,
            routing_key: args.routing_key,
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
        (health, metrics): (&Health, &TrackerMetrics),
        stop: &CancellationToken,
    ) -> anyhow::Result<PolicyReceivers> {
        let topic = &topics.policies;
        let (policy_sender, policy_receiver) = channel();
        let (pause_sender, pause_receiver) = channel();
        let routing_key = self.routing_key;
        // The receivers are gone only while the process stops.
        let send_policies =
            move |policies| drop(policy_sender.send(enforceable(policies, routing_key)));
        let send_pauses =
            move |pauses: &Pauses| drop(pause_sender.send(pauses.of(PausableRole::Tracker)));
        match self.source {
            PolicySource::File {
                path,
                file,
                policies,
            } => {
                tracing::info!(path = %path.display(), topic, "the policies of the file are active, those of the topic are not");
                send_policies(policies);
                file.watch(health, stop.clone(), send_policies)?;
                watch(config, topic, health, stop.clone(), move |update| {
                    if let PolicyUpdate::Pauses(pauses) = update {
                        send_pauses(pauses);
                    }
                })?;
            }
            PolicySource::Topic { fallback } => {
                let metrics = metrics.clone();
                watch(
                    config,
                    topic,
                    health,
                    stop.clone(),
                    move |update| match update {
                        PolicyUpdate::Policies(store) => {
                            let policies = store.policies().len();
                            tracing::info!(policies, "active policies changed");
                            send_policies(Arc::new(store.policy_set(&fallback)));
                        }
                        PolicyUpdate::Pauses(pauses) => send_pauses(pauses),
                        PolicyUpdate::Rejected => metrics.policy_rejected(),
                    },
                )?;
            }
        }
        Ok(PolicyReceivers {
            policies: policy_receiver,
            pauses: pause_receiver,
        })
    }
}

/// Leaves session limits out unless all sessions of a user are on one partition: a tracker that saw some
/// of them only would end too few.
fn enforceable(policies: Arc<PolicySet>, routing_key: RoutingKey) -> Arc<PolicySet> {
    if routing_key == RoutingKey::UserId {
        return policies;
    }
    let limited: Vec<&str> = policies.session_limits().collect();
    if limited.is_empty() {
        return policies;
    }
    tracing::warn!(
        policies = limited.join(", "),
        "maxSessions of these policies is not active, because sessions are routed by session id: start all trackers with --routing-key user_id"
    );
    Arc::new(policies.without_session_limits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Span;

    #[test]
    fn session_limits_need_routing_by_user() {
        let policy = Policy {
            max_sessions: Some(3),
            ..Policy::built_in(Span::from_secs(60), None)
        };
        let set = Arc::new(PolicySet::new(Vec::new(), policy).unwrap());
        let limits = |key| {
            let set = enforceable(Arc::clone(&set), key);
            set.iter().map(|one| one.max_sessions).collect::<Vec<_>>()
        };
        assert_eq!(limits(RoutingKey::UserId), [Some(3)]);
        assert_eq!(limits(RoutingKey::SessionId), [None]);
    }
}
