//! The controller: brings session policies from Kubernetes to the trackers, and tells in
//! their status how far they have come. It also measures how far trackers and handlers are
//! behind.
//!
//! | part | file |
//! |---|---|
//! | who of several controllers writes | `lease.rs` |
//! | fetch: the API server, the policy topic, the process reports | `watch.rs`, `records.rs`, `trackers.rs` |
//! | validate | `validate.rs`, `overlap.rs` |
//! | build: what to write and to say, plain code | `build.rs`, `conditions.rs` |
//! | apply | `apply.rs` |
//! | the loop | `reconcile.rs` |
//! | consumer lag | `lag.rs` |

pub mod apply;
pub mod args;
pub mod build;
pub mod conditions;
pub mod lag;
pub mod lease;
pub mod metrics;
pub mod overlap;
pub mod reconcile;
pub mod records;
pub mod rollout;
pub mod validate;
pub mod watch;

use std::time::Duration;

use anyhow::Context;
use kube::{Api, Client};
use rdkafka::ClientConfig;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::controller::metrics::ControllerMetrics;
use crate::health::Health;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topic_feed::TopicFeed;
use crate::metrics::certificates;
use crate::processes::Identity;
use crate::processes::reports::Reports;
use apply::Applier;
use args::ControllerArgs;
use lag::{LagMeter, MeasuredGroup};
use lease::{Candidate, Election};
use reconcile::{Inputs, Reconciler};
use records::{EndOffsetProbe, PolicyWriter, Records};
use rollout::TrackerRegistry;
use watch::Scope;

/// A loop that has not come round for so long is stuck. A pass over a thousand policies,
/// each of which the API server answers late, is not.
const STUCK: Duration = Duration::from_secs(120);

/// `sundown controller`: runs until `stop`.
///
/// # Errors
/// What keeps it from starting, with the remedy. Kafka and the API server need not answer
/// yet.
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

    let config = global.connection.client_config()?;
    let producer = global.connection.producer_config()?;
    let topics = global.topics.topics();
    let client = Client::try_default().await.context(
        "no way to the Kubernetes API server: run in a pod with a service account, or set KUBECONFIG",
    )?;
    let scope = scope(args, &client);
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("controller", admin_address, clock.wall());
    let (told, topic) = (health.clone(), &topics.processes);
    let reports = Reports::new(identity, told, producer.clone(), topic, clock)?;
    tracing::info!(identity = reports.id(), ?scope, "starting");

    let own = client.default_namespace().to_owned();
    let namespace = args.lease_namespace.as_ref().unwrap_or(&own);
    let candidate = Candidate {
        lease: args.lease_name.clone(),
        identity: reports.id().to_owned(),
        duration: args.lease_duration,
    };
    let election = Election::new(Api::namespaced(client.clone(), namespace), candidate, clock);
    let leadership = election.leadership();

    let group = global.topics.prefixed(&args.tracker_group);
    let views = Views::follow(&with_group_id(&config, &group), &topics, clock, &stop)?;
    let writer = PolicyWriter::new(producer, topics.policies.clone(), leadership.write_limit())?;
    let inputs = Inputs {
        told: watch::watch(&client, &scope),
        scope,
        probe: views.probe,
        trackers: views.trackers,
        leads: election.changes(),
        own_id: reports.id().to_owned(),
    };
    let applier = Applier::new(
        client,
        reports.id(),
        leadership.clone(),
        writer,
        views.records,
        metrics.clone(),
    );
    let measured_groups = measured_groups(global, args);
    let meter = LagMeter::new(&config, measured_groups, clock, metrics, leadership)?;
    let pulse = health.heartbeat("lag", STUCK);
    meter.start(args.lag_interval, stop.clone(), pulse)?;
    let reporting = tokio::spawn(reports.run(stop.clone()));

    // The lease is given back when nothing is being written any more.
    let over = CancellationToken::new();
    let pulse = health.heartbeat("lease", STUCK);
    let electing = tokio::spawn(election.run(over.clone(), pulse));
    let pulse = health.heartbeat("reconcile", STUCK);
    let reconciler = Reconciler::new(inputs, applier, clock, health);
    let reconciled = tokio::spawn(reconciler.run(stop, pulse)).await;
    over.cancel();
    electing.await?;
    reporting.await?;
    Ok(reconciled?)
}

/// What is in Kafka, kept up to date.
struct Views {
    records: channel::Receiver<Records>,
    probe: channel::Receiver<EndOffsetProbe>,
    trackers: channel::Receiver<TrackerRegistry>,
}

impl Views {
    fn follow(
        config: &ClientConfig,
        topics: &Topics,
        clock: Clock,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let records = channel::Sender::new(Records::default());
        let trackers = channel::Sender::new(TrackerRegistry::default());
        let views = Self {
            records: records.subscribe(),
            trackers: trackers.subscribe(),
            probe: records::probe(
                config,
                topics.policies.clone(),
                clock,
                records.clone(),
                stop.clone(),
            )?,
        };
        let policies = TopicFeed::start(config, &topics.policies, stop.clone())?;
        tokio::spawn(records::keep(policies, records));
        let processes = TopicFeed::start(config, &topics.processes, stop.clone())?;
        tokio::spawn(rollout::keep(processes, trackers, clock));
        Ok(views)
    }
}

/// Whose lag is measured.
fn measured_groups(global: &GlobalArgs, args: &ControllerArgs) -> [MeasuredGroup; 2] {
    let topics = global.topics.topics();
    [
        (&args.tracker_group, topics.session_logs),
        (&args.handler_group, topics.expired_sessions),
    ]
    .map(|(group, topic)| MeasuredGroup {
        group: global.topics.prefixed(group),
        topic,
    })
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
