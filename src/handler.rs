//! `sundown handler`: acts on sessions that are over.
//!
//! One thread ([`consumer`]) reads terminal events, tasks ([`worker`]) run the actions, and
//! the thread commits what is finished without a gap. An event is finished once each of
//! its actions has succeeded or it is in the dead-letter topic; until then it is delivered
//! again after a crash, so actions happen at least once, under one idempotency key.

pub mod action;
pub mod args;
pub mod claim;
pub mod config;
pub mod consumer;
pub mod dead_letters;
pub mod lanes;
pub mod ledger;
pub mod partitions;
pub mod reachability;
pub mod retry;
pub mod work;
pub mod worker;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use prometheus::Registry;
use rdkafka::consumer::Consumer;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Health};
use crate::cli::GlobalArgs;
use crate::clock::Clock;
use crate::kafka::group::{GroupConsumer, GroupContext};
use crate::kafka::topics::{TopicAdmin, require_patiently};
use crate::metrics::handler::HandlerMetrics;
use crate::process_report::heartbeat::{self, Reporting};
use args::{HandlerArgs, Settings};
use config::NamedAction;
use consumer::Reader;
use dead_letters::{DeadLetters, Reason};
use lanes::Lanes;
use partitions::{Limits, Partitions};
use reachability::Reachability;
use work::{Returned, Work};
use worker::{Station, Worker};

/// How many events may be in flight for each attempt that may be under way: enough to keep
/// all places busy while some users' events wait for each other or for a retry.
const EVENTS_PER_PLACE: usize = 16;
/// The memory that records in flight may take.
const MAX_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
/// From the signal to the end of the process, whatever the brokers do.
const EXIT_LIMIT: Duration = Duration::from_secs(4);

/// `sundown handler`: runs until `stop`.
///
/// # Errors
/// What keeps it from starting, or from going on, with the remedy.
pub async fn run(
    global: &GlobalArgs,
    args: &HandlerArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = Settings::new(args, global)?;
    let health = Health::default();
    health.set_not_ready("kafka", "looking for the topics");
    let registry = crate::metrics::registry("handler")?;
    let server = admin::start(&args.admin, health.clone(), registry.clone()).await?;

    let (source, dead) = (
        &settings.topics.expired_sessions,
        &settings.topics.expired_sessions_dlq,
    );
    let topics = TopicAdmin::new(&settings.client)?;
    if require_patiently(&topics, &[source, dead], &stop)
        .await?
        .is_none()
    {
        return Ok(());
    }
    health.set_ready("kafka");
    let reporting = Reporting {
        role: "handler",
        admin: Some(args.admin.advertised(server.address())),
        health: health.clone(),
    };
    let reports = &settings.topics.processes;
    heartbeat::start(reporting, settings.client.clone(), reports, stop.clone())?;
    serve(settings, &health, &registry, stop).await
}

/// Acts on terminal events until `stop`; the topics have to exist.
///
/// # Errors
/// What keeps it from starting, or from going on.
pub async fn serve(
    settings: Settings,
    health: &Health,
    registry: &Registry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let names = settings.actions.list.iter();
    let names = names.map(|named| named.name.as_str());
    let metrics = HandlerMetrics::new(registry, names, &Reason::ALL)?;
    let member = settings.member(&settings.group);
    let consumer: GroupConsumer = member.create_with_context(GroupContext::default())?;
    let topic = settings.topics.expired_sessions.clone();
    consumer.subscribe(&[&topic])?;
    let limits = Limits {
        events: settings.concurrency * EVENTS_PER_PLACE,
        bytes: MAX_IN_FLIGHT_BYTES,
    };
    let worker = worker(settings, health, &metrics)?;
    let (give_back, returned) = mpsc::channel();
    let reader = Reader {
        consumer,
        topic,
        partitions: Partitions::new(limits),
        dispatch: dispatcher(worker, give_back),
        returned,
        stop: stop.clone(),
        health: health.clone(),
        metrics,
        clock: Clock::default(),
    };
    let (ended, mut end) = oneshot::channel();
    // Nobody listens any more if the exit limit has passed.
    let read = move || drop(ended.send(reader.run()));
    thread::Builder::new()
        .name("handler".to_owned())
        .spawn(read)?;
    tokio::select! {
        result = &mut end => return Ok(result??),
        () = stop.cancelled() => {}
    }
    if let Ok(result) = tokio::time::timeout(EXIT_LIMIT, end).await {
        return Ok(result??);
    }
    tracing::warn!("leaving without the brokers' word; some events may be done again");
    Ok(())
}

fn worker(settings: Settings, health: &Health, metrics: &HandlerMetrics) -> anyhow::Result<Worker> {
    let station = |named: NamedAction| Station {
        reachability: Reachability::new(named.name.clone(), health.clone(), metrics.clone()),
        named,
    };
    Ok(Worker {
        stations: settings.actions.list.into_iter().map(station).collect(),
        retry: settings.actions.retry,
        slots: Semaphore::new(settings.concurrency),
        dead_letters: DeadLetters::new(
            settings.client,
            settings.topics.expired_sessions_dlq,
            health.clone(),
            metrics.clone(),
        )?,
        metrics: metrics.clone(),
        clock: Clock::default(),
    })
}

/// Work goes into its user's lane; its ticket comes back when it is done.
fn dispatcher(worker: Worker, give_back: mpsc::Sender<Returned>) -> impl Fn(Work) + Send {
    let worker = Arc::new(worker);
    let lanes = Lanes::new(Handle::current(), move |work: Work| {
        let (worker, give_back) = (Arc::clone(&worker), give_back.clone());
        async move {
            let work = Arc::new(work);
            let finished = worker.finish(&work).await;
            let ticket = work.ticket;
            // The reader is gone only when the process is going.
            let _ = give_back.send(Returned { ticket, finished });
        }
    });
    move |work| lanes.accept(work.order_key(), work)
}
