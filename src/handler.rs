//! `sundown handler`: runs actions for sessions that have ended or are about to end.
//!
//! Each action is a bulkhead: a consumer group, and in this process a thread that reads events
//! and commits offsets, slots, a circuit breaker and limits of its own. So an action whose target
//! fails stops, with its backlog in Kafka, and no other one does. Another consumer, in the
//! handler's own group, checks terminal events: it dead-letters malformed ones and those whose
//! policy names an unknown action.
//!
//! An action has finished an event once it has succeeded or the event is in the dead-letter topic
//! with the action's name. Until then it is redelivered after a crash, so actions run at least
//! once, under one idempotency key.
//!
//! The path of a terminal event to its webhook and back:
//!
//! | step | type | file |
//! |---|---|---|
//! | poll the record, apply backpressure | [`EventConsumer`](consumer::EventConsumer) | `consumer.rs` |
//! | track its offset, hand out the partition's lease | [`Partitions`](partitions::Partitions), [`PartitionLease`](partition_lease::PartitionLease) | `partitions.rs`, `partition_lease.rs` |
//! | decode the event | [`InFlight`](in_flight::InFlight) | `in_flight.rs` |
//! | queue it behind earlier events of its user | [`Lanes`](lanes::Lanes) | `lanes.rs` |
//! | decide whether the action runs, run it, dead-letter a failure | [`EventHandler`](event_handler::EventHandler) | `event_handler.rs` |
//! | attempt and retry one action, guarded by its circuit breaker | [`ActionRunner`](action_runner::ActionRunner), [`CircuitBreaker`](circuit_breaker::CircuitBreaker) | `action_runner.rs`, `circuit_breaker.rs` |
//! | render, sign and send the request | [`Webhook`](action::webhook::Webhook) | `action/webhook.rs` |
//! | report the end to the consumer, which commits the offset | [`Completion`](in_flight::Completion) | `in_flight.rs`, `consumer.rs` |

pub mod action;
pub mod action_context;
pub mod action_runner;
pub mod actions_file;
pub mod args;
pub mod assignments;
pub mod circuit_breaker;
pub mod consumer;
pub mod dead_letters;
pub mod event;
pub mod event_handler;
pub mod fields;
pub mod in_flight;
pub mod issuer;
pub mod jwks;
pub mod lanes;
pub mod ledger;
pub mod metrics;
pub mod partition_lease;
pub mod partitions;
pub mod policies;
pub mod retry;
pub mod role;
pub mod secret;
pub mod selection;
pub mod start_offsets;
pub mod streams;
pub mod template;
pub mod topic_ends;
pub mod url_template;

use std::thread;
use std::time::Duration;

use anyhow::Context;
use prometheus::Registry;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::handler::policies::PolicyActions;
use crate::health::Health;
use crate::http::tls::ServerIdentity;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topics::{TopicAdmin, require_for_role, wait_for_topics};
use crate::metrics::certificates;
use crate::processes::Identity;
use crate::processes::reports::Reports;
use action_context::ActionContext;
use args::{HandlerArgs, Settings};
use assignments::Assignments;
use dead_letters::FailureReason;

/// The time from the stop signal to the end of the process, even if brokers do not respond.
const EXIT_TIMEOUT: Duration = Duration::from_secs(4);
/// Interval between attempts to commit start offsets.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Runs `sundown handler` until `stop`.
///
/// # Errors
/// If the handler cannot start or continue; with the remedy.
pub async fn run(
    global: &GlobalArgs,
    args: &HandlerArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = Settings::new(args, global)?;
    let health = Health::default();
    health.set_not_ready("kafka", "checking that the topics exist");
    let registry = crate::metrics::registry("handler", &health)?;
    certificates::register(&registry, &global.connection)?;
    let server = admin::start(&args.admin, health.clone(), registry.clone()).await?;

    let topics = TopicAdmin::new(&settings.client)?;
    let needed = settings.required_topics();
    let require = || require_for_role(&topics, &settings.topics, &needed);
    let found = wait_for_topics(&health, &stop, require).await?;
    if found.is_none() {
        return Ok(());
    }
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("handler", admin_address, Clock::default().wall());
    let policies = read_policies(&settings, &health, &stop)?;
    let (active, assignments) = (policies.clone(), Assignments::default());
    let (reported, progress) = (assignments.clone(), assignments.clone());
    let (producer, topic) = (settings.client.clone(), &settings.topics.processes);
    let reports = Reports::new(identity, health.clone(), producer, topic, Clock::default())?
        .with_policies(move || active.active())
        .with_assignments(move || reported.all())
        .with_actions(move || progress.actions());
    let ended = stop.child_token();
    let reporting = tokio::spawn(reports.run(ended.clone()));
    let result = serve(settings, policies, (&health, &registry, assignments), stop).await;
    ended.cancel();
    reporting.await?;
    result
}

/// Runs the consumers of all roles until `stop`. The topics have to exist.
async fn serve(
    settings: Settings,
    policies: PolicyActions,
    (health, registry, assignments): (&Health, &Registry, Assignments),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let names = settings.actions.list.iter();
    let names = names.map(|named| named.name.as_str());
    let metrics = HandlerMetrics::new(registry, names, &FailureReason::ALL)?;
    let _keys = match &settings.jwks_listen {
        Some(listen) => {
            let (keys, streams) = (settings.actions.public_keys(), settings.actions.streams());
            let [certificate, key] = settings.jwks_tls.each_ref().map(Option::as_deref);
            let identity = ServerIdentity::of_flags(certificate, key);
            let identity = identity.context("check --jwks-tls-cert and --jwks-tls-key")?;
            let issuer = settings.jwks_issuer.as_ref();
            Some(jwks::start(listen, keys, issuer, streams, identity).await?)
        }
        None => None,
    };
    let stop = stop.child_token();
    if !wait_for_policies(&policies, health, &stop).await {
        return Ok(());
    }
    if !commit_start_offsets(&settings, health, &stop).await? {
        return Ok(());
    }
    let observers = (health, &metrics);
    let context = ActionContext::new(&settings, policies, assignments, observers, &stop)?;
    let mut consumers = JoinSet::new();
    for role in settings.roles() {
        let consumer = context.consumer(&role, &settings, stop.clone())?;
        consumers.spawn(run_on_thread(move || consumer.run()));
    }
    let end = async {
        // The first failure stops the other consumers.
        while let Some(ended) = consumers.join_next().await {
            if let failed @ Err(_) = ended? {
                stop.cancel();
                return failed;
            }
        }
        Ok(())
    };
    tokio::pin!(end);
    tokio::select! {
        result = &mut end => return result,
        () = stop.cancelled() => {}
    }
    if let Ok(result) = tokio::time::timeout(EXIT_TIMEOUT, end).await {
        return result;
    }
    tracing::warn!("shutting down before offsets were committed; some events will be redelivered");
    Ok(())
}

fn read_policies(
    settings: &Settings,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<PolicyActions> {
    let config = with_group_id(&settings.client, &settings.group);
    let topic = &settings.topics.policies;
    let on_rejected = || tracing::warn!("invalid policy record skipped");
    PolicyActions::start(&config, topic, health, stop.clone(), on_rejected)
}

/// Waits until the policies are loaded. Returns false if `stop` comes first.
async fn wait_for_policies(
    policies: &PolicyActions,
    health: &Health,
    stop: &CancellationToken,
) -> bool {
    health.set_not_ready("policies", "reading the policies");
    let loaded = tokio::select! {
        loaded = policies.wait_until_loaded() => loaded,
        () = stop.cancelled() => false,
    };
    health.set_ready("policies");
    loaded
}

/// Commits the start offsets of new groups, with retries. Returns false if `stop` comes first.
async fn commit_start_offsets(
    settings: &Settings,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    const CONDITION: &str = "start offsets";
    health.set_not_ready(CONDITION, "looking up the offsets of the actions' groups");
    loop {
        let settings = settings.clone();
        let commit = run_on_thread(move || {
            settings.roles().iter().try_for_each(|role| {
                let topic = settings.topic(role.trigger());
                start_offsets::commit_start_offsets(&settings.client, role, &settings.group, topic)
                    .map_err(|error| {
                        let group = role.group(&settings.group);
                        anyhow::anyhow!("{group}: {}", WithHint(&error))
                    })
            })
        });
        let committed = tokio::select! {
            committed = commit => committed,
            () = stop.cancelled() => return Ok(false),
        };
        let Err(error) = committed else {
            health.set_ready(CONDITION);
            return Ok(true);
        };
        // Without the permission, librdkafka only reports that the request timed out.
        let reason = format!(
            "cannot look up or commit the offsets of the group {error:#}; check that brokers are \
             up, and if this user lacks a permission on the consumer group, grant it Read"
        );
        tracing::warn!(reason, "retrying");
        health.set_not_ready(CONDITION, reason);
        tokio::select! {
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// Runs `work` on its own thread.
async fn run_on_thread(
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel();
    // The receiver is gone if the exit timeout has passed.
    let run = move || drop(ended.send(work()));
    let thread = thread::Builder::new().name("handler".to_owned());
    #[expect(
        clippy::disallowed_methods,
        reason = "consumers have heartbeats of their own; the start offsets are a readiness condition"
    )]
    thread.spawn(run)?;
    end.await?
}
