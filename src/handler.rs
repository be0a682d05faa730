//! `sundown handler`: runs actions for sessions that have ended or are about to end.
//!
//! One thread per topic reads events and commits offsets; tasks run the actions in between. An
//! event is finished once all its actions have succeeded or the event is in the dead-letter
//! topic. Until then it is redelivered after a crash, so actions run at least once, under one
//! idempotency key.
//!
//! The path of a terminal event to its webhook and back:
//!
//! | step | type | file |
//! |---|---|---|
//! | poll the record, apply backpressure | [`EventConsumer`](consumer::EventConsumer) | `consumer.rs` |
//! | track its offset, hand out the partition's lease | [`Partitions`](partitions::Partitions), [`PartitionLease`](partition_lease::PartitionLease) | `partitions.rs`, `partition_lease.rs` |
//! | decode the event | [`InFlight`](in_flight::InFlight) | `in_flight.rs` |
//! | queue it behind earlier events of its user | [`Lanes`](lanes::Lanes) | `lanes.rs` |
//! | select its actions, run them, dead-letter failures | [`EventHandler`](event_handler::EventHandler) | `event_handler.rs` |
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
pub mod jwks;
pub mod lanes;
pub mod ledger;
pub mod metrics;
pub mod partition_lease;
pub mod partitions;
pub mod policies;
pub mod retry;
pub mod secret;
pub mod selection;
pub mod template;

use std::thread;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::handler::policies::PolicyActions;
use crate::health::Health;
use crate::kafka::args::GlobalArgs;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topics::{TopicAdmin, require, wait_for_topics};
use crate::metrics::certificates;
use crate::processes::Identity;
use crate::processes::reports::Reports;
use action_context::ActionContext;
use args::{HandlerArgs, Settings};
use assignments::Assignments;
use consumer::EventConsumer;
use dead_letters::FailureReason;
use in_flight::InFlight;

/// The time from the stop signal to the end of the process, even if brokers do not respond.
const EXIT_TIMEOUT: Duration = Duration::from_secs(4);

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
    let found = wait_for_topics(&health, &stop, || require(&topics, &needed)).await?;
    if found.is_none() {
        return Ok(());
    }
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("handler", admin_address, Clock::default().wall());
    let policies = read_policies(&settings, &stop)?;
    let (active, assignments) = (policies.clone(), Assignments::default());
    let reported = assignments.clone();
    let (producer, topic) = (settings.client.clone(), &settings.topics.processes);
    let reports = Reports::new(identity, health.clone(), producer, topic, Clock::default())?
        .with_policies(move || active.active())
        .with_assignments(move || reported.all());
    let ended = stop.child_token();
    let reporting = tokio::spawn(reports.run(ended.clone()));
    let result = serve(settings, policies, (&health, &registry, assignments), stop).await;
    ended.cancel();
    reporting.await?;
    result
}

/// Handles terminal events, and warnings if an action is triggered by them, until `stop`. The
/// topics have to exist.
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
        Some(listen) => Some(jwks::start(listen, settings.actions.public_keys()).await?),
        None => None,
    };
    let stop = stop.child_token();
    if !wait_for_policies(&policies, health, &stop).await {
        return Ok(());
    }
    let context = ActionContext::new(&settings, policies, assignments, health, &metrics);
    let mut consumers = JoinSet::new();
    for trigger in settings.triggers() {
        let consumer = context.consumer(trigger, &settings, stop.clone())?;
        consumers.spawn(run_on_thread(consumer));
    }
    let end = async {
        // The first failure stops the other consumer.
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

fn read_policies(settings: &Settings, stop: &CancellationToken) -> anyhow::Result<PolicyActions> {
    let config = with_group_id(&settings.client, &settings.group);
    let topic = &settings.topics.policies;
    let on_rejected = || tracing::warn!("invalid policy record skipped");
    PolicyActions::start(&config, topic, stop.clone(), on_rejected)
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

/// Runs a consumer on its own thread.
async fn run_on_thread(
    consumer: EventConsumer<impl Fn(InFlight) + Send + 'static>,
) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel();
    // The receiver is gone if the exit timeout has passed.
    let run = move || drop(ended.send(consumer.run()));
    thread::Builder::new()
        .name("handler".to_owned())
        .spawn(run)?;
    end.await?
}
