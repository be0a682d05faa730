//! `sundown handler`: acts on sessions that are over.
//!
//! One thread ([`consumer`]) reads terminal events, tasks ([`worker`]) run the actions, and
//! the thread commits what is finished without a gap. An event is finished once each of
//! its actions has succeeded or it is in the dead-letter topic; until then it is delivered
//! again after a crash, so actions happen at least once, under one idempotency key.

pub mod action;
pub mod config;
pub mod consumer;
pub mod dead_letters;
pub mod group;
pub mod lanes;
pub mod ledger;
pub mod partitions;
pub mod reachability;
pub mod retry;
pub mod work;
pub mod worker;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use prometheus::Registry;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminArgs, Health};
use crate::cli::GlobalArgs;
use crate::clock::Clock;
use crate::kafka::Topics;
use crate::metrics::{self, HandlerMetrics};
use crate::shutdown;
use config::Actions;
use consumer::Reader;
use dead_letters::{DeadLetters, Reason};
use group::Group;
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
/// For the brokers to answer at the start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// From the signal to the end of the process, whatever the brokers do.
const EXIT_LIMIT: Duration = Duration::from_millis(4_500);

/// Act on sessions that are over: call webhooks, write logs.
///
/// Reads terminal events, runs actions on each, and commits an event only once all of its
/// actions have succeeded or it has gone to the dead-letter topic with the reason why.
/// Several handlers share the work; start as many as the topic has partitions.
#[derive(Args, Clone, Debug)]
pub struct HandlerArgs {
    /// What to do about sessions that are over, as YAML. Without it, they are only logged.
    #[arg(long, env = "SUNDOWN_ACTIONS", value_name = "FILE")]
    pub actions: Option<PathBuf>,

    /// The consumer group, put behind the topic prefix. Handlers in one group share the
    /// events; handlers in different groups each see all of them.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "GROUP"
    )]
    pub group: String,

    /// How many attempts of actions may be under way at once. One user's events are done
    /// one after the other all the same, in the order of the topic.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_CONCURRENCY",
        default_value_t = 64,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    pub concurrency: u16,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// What a handler has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach Kafka.
    pub client: ClientConfig,
    /// The topics' names.
    pub topics: Topics,
    /// The consumer group, prefix included.
    pub group: String,
    /// The most attempts under way at once.
    pub concurrency: usize,
    /// What to do.
    pub actions: Actions,
}

/// `sundown handler`: runs until a signal.
///
/// # Errors
/// What keeps the handler from starting or from going on.
pub fn command(args: &HandlerArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let settings = Settings::new(args, global)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let stop = shutdown::on_signal().context("signals cannot be caught")?;
        let health = Health::default();
        let registry = metrics::registry("handler")?;
        let _server = admin::start(&args.admin, health.clone(), registry.clone()).await?;
        run(settings, &health, &registry, stop).await
    });
    // Attempts that did not end in time are left to the receiver's idempotency.
    runtime.shutdown_background();
    result
}

/// Runs a handler on the current runtime until `stop` is cancelled.
///
/// # Errors
/// What keeps it from starting or from going on.
pub async fn run(
    settings: Settings,
    health: &Health,
    registry: &Registry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let names = settings
        .actions
        .list
        .iter()
        .map(|named| named.name.as_str());
    let metrics = HandlerMetrics::register(registry, names, &Reason::ALL)?;
    let (topics, client) = (settings.topics.clone(), settings.client.clone());
    let consumer = group::config(client, &settings.group);
    let consumer: BaseConsumer<Group> = consumer.create_with_context(Group::default())?;
    let worker = Arc::new(worker(settings, health, &metrics)?);
    let (give_back, returned) = mpsc::channel();
    let reader = Reader {
        consumer,
        topic: topics.expired_sessions.clone(),
        partitions: Partitions::new(Limits {
            events: worker.slots.available_permits() * EVENTS_PER_PLACE,
            bytes: MAX_IN_FLIGHT_BYTES,
        }),
        dispatch: dispatcher(worker, give_back),
        returned,
        stop: stop.clone(),
        health: health.clone(),
        metrics,
        clock: Clock::default(),
    };
    let (ended, mut end) = oneshot::channel();
    thread::Builder::new()
        .name("handler".to_owned())
        .spawn(move || {
            let result = subscribe(&reader.consumer, &topics).and_then(|()| Ok(reader.run()?));
            // Nobody listens any more if the exit limit has passed.
            let _ = ended.send(result);
        })?;
    tokio::select! {
        result = &mut end => return result?,
        () = stop.cancelled() => {}
    }
    match tokio::time::timeout(EXIT_LIMIT, end).await {
        Ok(result) => result?,
        Err(_) => {
            tracing::warn!("the brokers did not confirm in time; some events may be done again");
            Ok(())
        }
    }
}

impl Settings {
    fn new(args: &HandlerArgs, global: &GlobalArgs) -> anyhow::Result<Self> {
        Ok(Self {
            client: global.connection.client_config()?,
            topics: global.topics.topics(),
            group: global.topics.prefixed(&args.group),
            concurrency: args.concurrency.into(),
            actions: match &args.actions {
                Some(file) => Actions::load(file)?,
                None => Actions::only_log(),
            },
        })
    }
}

fn worker(settings: Settings, health: &Health, metrics: &HandlerMetrics) -> anyhow::Result<Worker> {
    let station = |named: config::NamedAction| Station {
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
fn dispatcher(worker: Arc<Worker>, give_back: mpsc::Sender<Returned>) -> impl Fn(Work) + Send {
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

fn subscribe(consumer: &BaseConsumer<Group>, topics: &Topics) -> anyhow::Result<()> {
    for topic in [&topics.expired_sessions, &topics.expired_sessions_dlq] {
        let metadata = consumer.fetch_metadata(Some(topic), START_TIMEOUT);
        let metadata = metadata.context("cannot reach Kafka; check --bootstrap-servers")?;
        let found = metadata.topics().first();
        let found = found.ok_or_else(|| anyhow!("the brokers said nothing of topic '{topic}'"))?;
        if let Some(error) = found.error() {
            let error = rdkafka::error::RDKafkaErrorCode::from(error);
            bail!("topic '{topic}' cannot be used: {error}; make it with `sundown topics create`");
        }
    }
    Ok(consumer.subscribe(&[&topics.expired_sessions])?)
}
