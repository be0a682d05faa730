//! The controller: publishes session policies from Kubernetes to the trackers, reports their
//! rollout in their status, and measures the lag of trackers and handlers.
//!
//! | part | file |
//! |---|---|
//! | leader election | `lease.rs` |
//! | fetch: API server, policy topic, process reports | `watch.rs`, `published.rs`, `rollout.rs` |
//! | validate | `validate.rs`, `overlap.rs` |
//! | diff: records and statuses to write, pure | `diff.rs`, `conditions.rs` |
//! | apply | `apply.rs` |
//! | reconciliation loop | `reconcile.rs` |
//! | consumer lag | `lag.rs` |

pub mod apply;
pub mod args;
pub mod conditions;
pub mod diff;
pub mod lag;
pub mod lease;
pub mod metrics;
pub mod overlap;
pub mod published;
pub mod reconcile;
pub mod rollout;
pub mod validate;
pub mod watch;

use std::future;
use std::time::Duration;

use anyhow::Context;
use kube::{Api, Client};
use rdkafka::ClientConfig;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topic_feed::TopicFeed;
use crate::kafka::topics::{TopicAdmin, require_for_role, wait_for_topics};
use crate::metrics::certificates;
use crate::policy::writer::PolicyTopicWriter;
use crate::processes::Identity;
use crate::processes::reports::Reports;
use apply::Applier;
use args::ControllerArgs;
use lag::{LagMeter, MeasuredGroup};
use lease::{Election, ElectionConfig};
use metrics::ControllerMetrics;
use published::{EndOffsetProbe, PublishedPolicies};
use reconcile::{Reconciler, ReconcilerInputs};
use rollout::TrackerRegistry;
use watch::Scope;

/// A loop without a heartbeat for this long is stuck. It exceeds a reconciliation of a thousand
/// policies with a slow API server.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `sundown controller` until `stop`.
///
/// # Errors
/// If the configuration is invalid, or the admin port cannot be bound. Kafka and the API server
/// may become available later.
pub async fn run(
    global: &GlobalArgs,
    args: &ControllerArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let clock = Clock::default();
    let health = Health::default();
    health.set_not_ready("kubernetes", "listing the policies");
    health.set_not_ready("kafka", "looking for the topics");
    let registry = crate::metrics::registry("controller", &health)?;
    certificates::register(&registry, &global.connection)?;
    let metrics = ControllerMetrics::new(&registry)?;
    let server = admin::start(&args.admin, health.clone(), registry).await?;

    let stop = stop.child_token();
    let config = global.connection.client_config()?;
    let producer = global.connection.producer_config()?;
    let topics = global.topics.topics();
    let client = Client::try_default().await.context(
        "no configuration for the Kubernetes API server: run in a pod with a service account, or set KUBECONFIG",
    )?;
    let scope = scope(args, &client);
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("controller", admin_address, clock.wall());
    let reports = Reports::new(
        identity,
        health.clone(),
        producer.clone(),
        &topics.processes,
        clock,
    )?;
    tracing::info!(identity = reports.id(), ?scope, "starting");

    let election = election(&client, args, reports.id(), clock, &health);
    let leadership = election.leadership();

    let group = global.topics.prefixed(&args.tracker_group);
    let views = {
        let reader = with_group_id(&config, &group);
        TopicViews::start(&reader, &topics, clock, &health, &stop)?
    };
    let writer =
        PolicyTopicWriter::for_leader(producer, &topics.policies, leadership.write_timeout())?;
    let groups = measured_groups(global, args, views.trackers.clone());
    let inputs = ReconcilerInputs {
        events: watch::watch(&client, &scope, args.policy_selector.as_deref()),
        scope,
        probe: views.probe,
        trackers: views.trackers,
        routing_key: args.routing_key,
        leads: election.changes(),
        own_id: reports.id().to_owned(),
    };
    let applier = Applier::new(
        client,
        reports.id(),
        leadership.clone(),
        writer,
        views.published,
        metrics.clone(),
    );
    let meter = LagMeter::new(&config, groups, clock, metrics, leadership);
    meter.start(args.lag_interval, &health, stop.clone())?;
    let reporting = tokio::spawn(reports.run(stop.clone()));

    // The lease is released after the last write.
    let stop_election = CancellationToken::new();
    let heartbeat = health.heartbeat("lease", HEARTBEAT_TIMEOUT);
    let electing = tokio::spawn(election.run(stop_election.clone(), heartbeat));
    let heartbeat = health.heartbeat("reconcile", HEARTBEAT_TIMEOUT);
    let reconciler = Reconciler::new(inputs, applier, clock, health);
    let reconciling = tokio::spawn(reconciler.run(stop.clone(), heartbeat));
    let refused = refused_settings(&config, &topics, &stop);
    let reconciled = run_unless(refused, reconciling, &stop).await;
    stop_election.cancel();
    electing.await?;
    reporting.await?;
    reconciled
}

/// Waits for the end of `reconciling`, which `refused` ends with an error.
async fn run_unless(
    refused: impl Future<Output = anyhow::Error>,
    mut reconciling: JoinHandle<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        reconciled = &mut reconciling => Ok(reconciled?),
        error = refused => {
            stop.cancel();
            reconciling.await?;
            Err(error)
        }
    }
}

/// Returns once the topics exist with settings that the controller cannot work with.
async fn refused_settings(
    config: &ClientConfig,
    topics: &Topics,
    stop: &CancellationToken,
) -> anyhow::Error {
    let names = [topics.policies.as_str(), topics.processes.as_str()];
    let found = match TopicAdmin::new(config) {
        Ok(admin) => {
            let require = || require_for_role(&admin, topics, &names);
            // The reconciler reports topics that are missing.
            wait_for_topics(&Health::default(), stop, require).await
        }
        Err(error) => Err(error),
    };
    match found {
        Ok(_) => future::pending().await,
        Err(error) => error.into(),
    }
}

fn election(
    client: &Client,
    args: &ControllerArgs,
    identity: &str,
    clock: Clock,
    health: &Health,
) -> Election {
    let own = client.default_namespace().to_owned();
    let namespace = args.lease_namespace.as_ref().unwrap_or(&own);
    let config = ElectionConfig {
        lease_name: args.lease_name.clone(),
        identity: identity.to_owned(),
        lease_duration: args.lease_duration,
    };
    let api = Api::namespaced(client.clone(), namespace);
    Election::new(api, config, clock, health.clone())
}

/// The contents of topics, kept up to date.
struct TopicViews {
    published: channel::Receiver<PublishedPolicies>,
    probe: channel::Receiver<EndOffsetProbe>,
    trackers: channel::Receiver<TrackerRegistry>,
}

impl TopicViews {
    fn start(
        config: &ClientConfig,
        topics: &Topics,
        clock: Clock,
        health: &Health,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let published = channel::Sender::new(PublishedPolicies::default());
        let trackers = channel::Sender::new(TrackerRegistry::default());
        let views = Self {
            published: published.subscribe(),
            trackers: trackers.subscribe(),
            probe: published::probe(
                config,
                topics.policies.clone(),
                clock,
                published.clone(),
                health,
                stop.clone(),
            )?,
        };
        let (own_config, policies, own_stop) =
            (config.clone(), topics.policies.clone(), stop.clone());
        let own_health = health.clone();
        let start = move || TopicFeed::start(&own_config, &policies, &own_health, own_stop.clone());
        published::update(start, published)?;
        let processes = TopicFeed::start(config, &topics.processes, health, stop.clone())?;
        tokio::spawn(rollout::update(processes, trackers, clock));
        Ok(views)
    }
}

/// Returns the consumer groups whose lag is measured: those of trackers and handlers, and those of
/// the actions that handlers report.
fn measured_groups(
    global: &GlobalArgs,
    args: &ControllerArgs,
    processes: channel::Receiver<TrackerRegistry>,
) -> impl Fn() -> Vec<MeasuredGroup> + Send + 'static {
    let topics = global.topics.topics();
    let handlers = global.topics.prefixed(&args.handler_group);
    let trackers = MeasuredGroup {
        group: global.topics.prefixed(&args.tracker_group),
        topic: topics.session_logs,
    };
    move || {
        let actions = processes.borrow().action_groups(&handlers);
        let groups = std::iter::once(handlers.clone()).chain(actions);
        let groups = groups.map(|group| MeasuredGroup {
            group,
            topic: topics.expired_sessions.clone(),
        });
        std::iter::once(trackers.clone()).chain(groups).collect()
    }
}

fn scope(args: &ControllerArgs, client: &Client) -> Scope {
    match (args.all_namespaces, args.namespaces.as_slice()) {
        (true, _) => Scope::All,
        (false, []) => Scope::Namespaces(vec![client.default_namespace().to_owned()]),
        (false, names) => {
            let mut names = names.to_vec();
            names.sort();
            names.dedup();
            Scope::Namespaces(names)
        }
    }
}
