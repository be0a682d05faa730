//! The controller: publishes session policies and session sources from Kubernetes to the trackers
//! and ingest processes, reports their rollout in their status, and measures the lag of trackers,
//! handlers and ingest.
//!
//! | part | file |
//! |---|---|
//! | leader election | `lease.rs` |
//! | fetch: API server, policy topic, process reports | `watch.rs`, `published.rs`, `rollout.rs` |
//! | the kinds of resources | `resource_kind.rs`, `policies.rs`, `sources.rs` |
//! | validate | `validate.rs`, `overlap.rs`, `sources/validate.rs` |
//! | diff: records and statuses to write, pure | `diff.rs`, `conditions.rs` |
//! | brake on mass endings | `brake.rs` |
//! | apply | `apply.rs` |
//! | reconciliation loop | `reconcile.rs` |
//! | consumer lag | `lag.rs` |

pub mod apply;
pub mod args;
pub mod brake;
pub mod conditions;
pub mod diff;
pub mod lag;
pub mod lease;
pub mod metrics;
mod namespace_limits;
pub mod overlap;
pub mod policies;
pub mod published;
pub mod reconcile;
pub mod resource_kind;
pub mod rollout;
pub mod scope;
pub mod sources;
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
use crate::session_lookup::search::Searcher;
use apply::Applier;
use args::ControllerArgs;
use brake::Brake;
use lag::{LagMeter, MeasuredGroup};
use lease::{Election, ElectionConfig, Leadership};
use metrics::ControllerMetrics;
use namespace_limits::NamespaceLimits;
use policies::PolicyKind;
use published::{EndOffsetProbe, PublishedRecords};
use reconcile::{Reconciler, ReconcilerInputs};
use resource_kind::ResourceKind;
use rollout::ProcessRegistry;
use scope::Scope;
use sources::SourceKind;
use validate::PolicyRules;

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

    let group = global.topics.prefixed(&args.trackers.tracker_group);
    let views = {
        let reader = with_group_id(&config, &group);
        TopicViews::start(&reader, &topics, clock, &health, &stop)?
    };
    let groups = measured_groups(global, args, &views);
    let meter = LagMeter::new(&config, groups, clock, metrics.clone(), leadership.clone());
    meter.start(args.lag_interval, &health, stop.clone())?;
    let parts = ReconcilerParts {
        client,
        scope,
        selector: args.policy_selector.clone(),
        views,
        leads: election.changes(),
        leadership,
        own_id: reports.id().to_owned(),
        producer,
        topic: topics.policies.clone(),
        metrics,
        clock,
        health: health.clone(),
        searcher: Searcher::new(args.admin_token.read()?)?,
        max_mass_ending: args.max_mass_ending,
    };
    let reporting = tokio::spawn(reports.run(stop.clone()));

    // The lease is released after the last write.
    let stop_election = CancellationToken::new();
    let heartbeat = health.heartbeat("lease", HEARTBEAT_TIMEOUT);
    let electing = tokio::spawn(election.run(stop_election.clone(), heartbeat));
    let reconciling = tokio::spawn(parts.reconcile(args, &topics, &stop)?);
    let refused = refused_settings(&config, &topics, &stop);
    let reconciled = run_unless(refused, reconciling, &stop).await;
    stop_election.cancel();
    electing.await?;
    reporting.await?;
    reconciled
}

/// What the reconcilers of all kinds are made of.
struct ReconcilerParts {
    client: Client,
    scope: Scope,
    selector: Option<String>,
    views: TopicViews,
    leads: channel::Receiver<bool>,
    leadership: Leadership,
    own_id: String,
    producer: ClientConfig,
    /// The policy topic.
    topic: String,
    metrics: ControllerMetrics,
    clock: Clock,
    health: Health,
    /// Counts sessions for the brake.
    searcher: Searcher,
    max_mass_ending: u8,
}

impl ReconcilerParts {
    /// Reconciles policies and sources until `stop`.
    fn reconcile(
        self,
        args: &ControllerArgs,
        topics: &Topics,
        stop: &CancellationToken,
    ) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
        let rules = PolicyRules {
            routing_key: args.routing_key,
            limits: NamespaceLimits::read(args.namespace_limits.as_deref())?,
        };
        let policies = self.reconciler(PolicyKind { rules })?;
        let sources = self.reconciler(SourceKind {
            own_topics: topics.clone(),
        })?;
        let heartbeat = |name| self.health.heartbeat(name, HEARTBEAT_TIMEOUT);
        let policies = policies.run(stop.clone(), heartbeat("policies"));
        let sources = sources.run(stop.clone(), heartbeat("sources"));
        Ok(async {
            tokio::join!(policies, sources);
        })
    }

    fn reconciler<K: ResourceKind>(&self, kind: K) -> anyhow::Result<Reconciler<K>> {
        let inputs = ReconcilerInputs {
            events: watch::watch::<K>(&self.client, &self.scope, self.selector.as_deref()),
            scope: self.scope.clone(),
            probe: self.views.probe.clone(),
            processes: self.views.processes.clone(),
            leads: self.leads.clone(),
            own_id: self.own_id.clone(),
        };
        let writer = PolicyTopicWriter::for_leader(
            self.producer.clone(),
            &self.topic,
            self.leadership.write_timeout(),
        )?;
        let applier = Applier::new::<K>(
            self.client.clone(),
            &self.own_id,
            self.leadership.clone(),
            writer,
            self.views.published.clone(),
            self.metrics.clone(),
        );
        let (clock, health) = (self.clock, self.health.clone());
        let brake = Brake::new(self.searcher.clone(), self.max_mass_ending);
        Ok(Reconciler::new(
            kind,
            inputs,
            (applier, brake),
            clock,
            health,
        ))
    }
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
    published: channel::Receiver<PublishedRecords>,
    probe: channel::Receiver<EndOffsetProbe>,
    processes: channel::Receiver<ProcessRegistry>,
}

impl TopicViews {
    fn start(
        config: &ClientConfig,
        topics: &Topics,
        clock: Clock,
        health: &Health,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let published = channel::Sender::new(PublishedRecords::default());
        let registry = channel::Sender::new(ProcessRegistry::default());
        let views = Self {
            published: published.subscribe(),
            processes: registry.subscribe(),
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
        tokio::spawn(rollout::update(processes, registry, clock));
        Ok(views)
    }
}

/// Returns the consumer groups whose lag is measured: those of trackers and handlers, those of the
/// actions that handlers report, and those of ingest for the topics of sources.
fn measured_groups(
    global: &GlobalArgs,
    args: &ControllerArgs,
    views: &TopicViews,
) -> impl Fn() -> Vec<MeasuredGroup> + Send + 'static {
    let (processes, published) = (views.processes.clone(), views.published.clone());
    let ingest = global.topics.prefixed(&args.ingest_group);
    let topics = global.topics.topics();
    let handlers = global.topics.prefixed(&args.handler_group);
    let trackers = MeasuredGroup {
        group: global.topics.prefixed(&args.trackers.tracker_group),
        topic: topics.session_logs,
    };
    move || {
        let actions = processes.borrow().action_groups(&handlers);
        let groups = std::iter::once(handlers.clone()).chain(actions);
        let groups = groups.map(|group| MeasuredGroup {
            group,
            topic: topics.expired_sessions.clone(),
        });
        let mut sources = processes.borrow().source_topics();
        for (_, source) in published.borrow().sources.documents() {
            sources.extend(source.spec.topics.iter().cloned());
        }
        let sources = sources.into_iter().map(|topic| MeasuredGroup {
            group: format!("{ingest}.{topic}"),
            topic,
        });
        let groups = std::iter::once(trackers.clone()).chain(groups);
        groups.chain(sources).collect()
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
