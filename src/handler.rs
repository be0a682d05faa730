//! `sundown handler`: acts on sessions that are over.
//!
//! One thread ([`consumer`]) reads terminal events, tasks ([`worker`]) run the actions, and
//! the thread commits what is finished without a gap. An event is finished once each of
//! its actions has succeeded or it is in the dead-letter topic; until then it is delivered
//! again after a crash, so actions happen at least once, under one idempotency key.

pub mod action;
pub mod actions_file;
pub mod args;
pub mod assignments;
pub mod circuit_breaker;
pub mod consumer;
pub mod dead_letters;
pub mod event;
pub mod fields;
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
pub mod work;
pub mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::handler::policies::PolicyActions;
use crate::health::Health;
use crate::kafka::args::GlobalArgs;
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::Member;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topics::{TopicAdmin, require, wait_for_topics};
use crate::metrics::certificates;
use crate::processes::Identity;
use crate::processes::reports::Reports;
use action::named::NamedAction;
use args::{HandlerArgs, Settings};
use assignments::Assignments;
use circuit_breaker::CircuitBreaker;
use consumer::Reader;
use dead_letters::{DeadLetters, Reason};
use event::Trigger;
use lanes::Lanes;
use partitions::{Limits, Partitions};
use selection::ActionsOfPolicy;
use work::{Completion, Work};
use worker::{ActionRunner, Worker};

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
    let policies = follow_policies(&settings, &stop)?;
    let (in_force, assignments) = (policies.clone(), Assignments::default());
    let told = assignments.clone();
    let (producer, topic) = (settings.client.clone(), &settings.topics.processes);
    let reports = Reports::new(identity, health.clone(), producer, topic, Clock::default())?
        .with_policies(move || in_force.in_force())
        .with_assignments(move || told.assignments());
    let over = stop.child_token();
    let reporting = tokio::spawn(reports.run(over.clone()));
    let outcome = serve(settings, policies, (&health, &registry, assignments), stop).await;
    over.cancel();
    reporting.await?;
    outcome
}

/// Acts on terminal events, and on warnings if there is an action for them, until `stop`;
/// the topics have to exist.
async fn serve(
    settings: Settings,
    policies: PolicyActions,
    (health, registry, assignments): (&Health, &Registry, Assignments),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let names = settings.actions.list.iter();
    let names = names.map(|named| named.name.as_str());
    let metrics = HandlerMetrics::new(registry, names, &Reason::ALL)?;
    let _keys = match &settings.jwks_listen {
        Some(listen) => Some(jwks::start(listen, settings.actions.public_keys()).await?),
        None => None,
    };
    let stop = stop.child_token();
    if !known(&policies, health, &stop).await {
        return Ok(());
    }
    let context = ActionContext::new(&settings, policies, assignments, health, &metrics);
    let mut readers = JoinSet::new();
    for trigger in settings.triggers() {
        let reader = reader(trigger, &settings, &context, stop.clone())?;
        readers.spawn(read(reader));
    }
    let end = async {
        // The first that fails ends the rest.
        while let Some(ended) = readers.join_next().await {
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
    if let Ok(result) = tokio::time::timeout(EXIT_LIMIT, end).await {
        return result;
    }
    tracing::warn!("leaving without the brokers' word; some events may be done again");
    Ok(())
}

fn follow_policies(settings: &Settings, stop: &CancellationToken) -> anyhow::Result<PolicyActions> {
    let config = with_group_id(&settings.client, &settings.group);
    let topic = &settings.topics.policies;
    let refused = || tracing::warn!("a policy that cannot be read was passed over");
    PolicyActions::start(&config, topic, stop.clone(), refused)
}

/// Waits until the policies are known; they are not if told to stop before.
async fn known(policies: &PolicyActions, health: &Health, stop: &CancellationToken) -> bool {
    health.set_not_ready("policies", "reading the policies");
    let known = tokio::select! {
        known = policies.known() => known,
        () = stop.cancelled() => false,
    };
    health.set_ready("policies");
    known
}

/// What the readers share: actions and their circuits, places, counters.
struct ActionContext {
    stations: Arc<[ActionRunner]>,
    slots: Arc<Semaphore>,
    actions_of: Arc<ActionsOfPolicy>,
    paused: watch::Receiver<BTreeSet<i32>>,
    assignments: Assignments,
    health: Health,
    metrics: HandlerMetrics,
}

impl ActionContext {
    fn new(
        settings: &Settings,
        policies: PolicyActions,
        assignments: Assignments,
        health: &Health,
        metrics: &HandlerMetrics,
    ) -> Self {
        let retry = settings.actions.retry;
        let runner = |named: &NamedAction| ActionRunner {
            circuit: CircuitBreaker::new(
                named.name.clone(),
                retry,
                health.clone(),
                metrics.clone(),
            ),
            named: named.clone(),
        };
        Self {
            stations: settings.actions.list.iter().map(runner).collect(),
            slots: Arc::new(Semaphore::new(settings.concurrency)),
            paused: policies.paused(),
            assignments,
            actions_of: Arc::new(move |policy| policies.of(policy)),
            health: health.clone(),
            metrics: metrics.clone(),
        }
    }

    fn worker(&self, trigger: Trigger, settings: &Settings) -> anyhow::Result<Worker> {
        let dead_letters = || {
            DeadLetters::new(
                settings.client.clone(),
                settings.topics.expired_sessions_dlq.clone(),
                self.health.clone(),
                self.metrics.clone(),
            )
        };
        Ok(Worker {
            stations: Arc::clone(&self.stations),
            retry: settings.actions.retry,
            slots: Arc::clone(&self.slots),
            actions_of: Arc::clone(&self.actions_of),
            dead_letters: match trigger {
                Trigger::Ending => Some(dead_letters()?),
                Trigger::Warning => None,
            },
            metrics: self.metrics.clone(),
            clock: Clock::default(),
        })
    }
}

/// A reader of the events of one kind. Warnings have a group of their own, so that a mail
/// server that is down holds up no logout.
fn reader(
    trigger: Trigger,
    settings: &Settings,
    context: &ActionContext,
    stop: CancellationToken,
) -> anyhow::Result<Reader<impl Fn(Work) + Send + use<>>> {
    let (topic, group) = match trigger {
        Trigger::Ending => (&settings.topics.expired_sessions, settings.group.clone()),
        Trigger::Warning => (
            &settings.topics.expiring_sessions,
            format!("{}-warnings", settings.group),
        ),
    };
    let member = Member::new(settings.member(&group), topic, Clock::default())?;
    member.consumer().subscribe()?;
    let limits = Limits {
        events: settings.concurrency * EVENTS_PER_PLACE,
        bytes: MAX_IN_FLIGHT_BYTES,
    };
    // The last stable offset, as readers of committed records see the end.
    let every = Duration::from_secs(1);
    let ends = EndOffsetWatch::start_with_interval(
        settings.client.clone(),
        topic.clone(),
        every,
        Clock::default(),
        stop.clone(),
    )?;
    let (give_back, completions) = mpsc::channel();
    let worker = context.worker(trigger, settings)?;
    Ok(Reader {
        member,
        topic: topic.clone(),
        trigger,
        partitions: Partitions::new(limits),
        // A pause is for endings: a warning that waits is worth nothing.
        paused: (trigger == Trigger::Ending).then(|| context.paused.clone()),
        ends,
        last_ends: BTreeMap::new(),
        assignments: context.assignments.clone(),
        dispatch: dispatcher(worker, give_back),
        completions,
        stop,
        health: context.health.clone(),
        metrics: context.metrics.clone(),
        clock: Clock::default(),
    })
}

/// Runs a reader on a thread of its own.
async fn read(reader: Reader<impl Fn(Work) + Send + 'static>) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel();
    // Nobody listens any more if the exit limit has passed.
    let read = move || drop(ended.send(reader.run()));
    thread::Builder::new()
        .name("handler".to_owned())
        .spawn(read)?;
    end.await?
}

/// Work goes into its user's lane; its in_flight comes back when it is done.
fn dispatcher(worker: Worker, give_back: mpsc::Sender<Completion>) -> impl Fn(Work) + Send + use<> {
    let worker = Arc::new(worker);
    let lanes = Lanes::new(Handle::current(), move |work: Work| {
        let (worker, give_back) = (Arc::clone(&worker), give_back.clone());
        async move {
            let work = Arc::new(work);
            let finished = worker.finish(&work).await;
            let in_flight = work.in_flight;
            // The reader is gone only when the process is going.
            let _ = give_back.send(Completion {
                in_flight,
                finished,
            });
        }
    });
    move |work| lanes.accept(work.order_key(), work)
}
