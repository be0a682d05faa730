//! Wires consumers, handlers and action runners together.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::action::named::NamedAction;
use super::action_runner::ActionRunner;
use super::args::Settings;
use super::assignments::Assignments;
use super::circuit_breaker::CircuitBreaker;
use super::consumer::EventConsumer;
use super::dead_letters::DeadLetterWriter;
use super::event::Trigger;
use super::event_handler::{EventHandler, Need};
use super::in_flight::{Completion, InFlight};
use super::lanes::Lanes;
use super::partitions::{InFlightLimits, Partitions};
use super::policies::PolicyActions;
use super::role::ConsumerRole;
use super::topic_ends::TopicEnds;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::health::Health;
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::Member;

/// Events in flight per attempt slot: enough to keep all slots busy while events wait for
/// earlier ones of their user or for a retry.
const IN_FLIGHT_PER_SLOT: usize = 16;
/// The memory that records in flight may take, of all consumers together, in bytes.
const MAX_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
/// What each consumer gets of it at least, in bytes.
const MIN_IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// What the consumers of a process share. No consumer waits for another one: each has its own
/// group, partitions, limits and, for its action, slots and circuit.
pub struct ActionContext {
    roles: Vec<ConsumerRole>,
    actions: Arc<[NamedAction]>,
    /// In the order of `actions`.
    runners: Vec<Arc<ActionRunner>>,
    policies: PolicyActions,
    assignments: Assignments,
    dead_letters: Arc<DeadLetterWriter>,
    ends: BTreeMap<Trigger, TopicEnds>,
    health: Health,
    metrics: HandlerMetrics,
}

impl ActionContext {
    /// # Errors
    /// If librdkafka does not accept the configuration.
    pub fn new(
        settings: &Settings,
        policies: PolicyActions,
        assignments: Assignments,
        (health, metrics): (&Health, &HandlerMetrics),
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let retry = settings.actions.retry;
        let runners = settings.actions.list.iter().map(|named| {
            let (name, health) = (named.name.clone(), health.clone());
            Arc::new(ActionRunner {
                named: named.clone(),
                circuit: CircuitBreaker::new(name, retry, health, metrics.clone()),
                retry,
                slots: Semaphore::new(settings.concurrency),
                metrics: metrics.clone(),
                clock: Clock::default(),
            })
        });
        let dead_letters = DeadLetterWriter::new(
            settings.client.clone(),
            settings.topics.expired_sessions_dlq.clone(),
            health.clone(),
        )?;
        // The last stable offset: the end that readers of committed records see.
        let watch = |trigger: Trigger| -> anyhow::Result<_> {
            let watch = EndOffsetWatch::start_with_interval(
                settings.client.clone(),
                settings.topic(trigger).to_owned(),
                Duration::from_secs(1),
                Clock::default(),
                health,
                stop.clone(),
            )?;
            Ok((trigger, TopicEnds::new(watch)))
        };
        let ends = settings.triggers().into_iter().map(watch);
        Ok(Self {
            roles: settings.roles(),
            actions: settings.actions.list.clone().into(),
            runners: runners.collect(),
            policies,
            assignments,
            dead_letters: Arc::new(dead_letters),
            ends: ends.collect::<anyhow::Result<_>>()?,
            health: health.clone(),
            metrics: metrics.clone(),
        })
    }

    fn event_handler(&self, role: &ConsumerRole) -> EventHandler {
        let run = match role {
            ConsumerRole::Check => None,
            ConsumerRole::Run { action, .. } => {
                let mut actions = self.actions.iter();
                let index = actions.position(|named| named.name == *action);
                index.map(|index| (index, Arc::clone(&self.runners[index])))
            }
        };
        EventHandler {
            run,
            actions: Arc::clone(&self.actions),
            policies: self.policies.clone(),
            dead_letters: Arc::clone(&self.dead_letters),
            metrics: self.metrics.clone(),
            clock: Clock::default(),
        }
    }

    /// Creates the consumer of a role.
    ///
    /// # Errors
    /// If librdkafka does not accept the configuration.
    pub fn consumer(
        &self,
        role: &ConsumerRole,
        settings: &Settings,
        stop: CancellationToken,
    ) -> anyhow::Result<EventConsumer<impl Fn(InFlight) + Send + use<>>> {
        let trigger = role.trigger();
        let topic = settings.topic(trigger);
        let group = role.group(&settings.group);
        let consumers = self.roles.len();
        let config = settings.member(&group, consumers);
        let member = Member::new(config, topic, Clock::default(), &self.health)?;
        member.consumer().subscribe()?;
        let limits = InFlightLimits {
            events: settings.concurrency * IN_FLIGHT_PER_SLOT,
            bytes: (MAX_IN_FLIGHT_BYTES / consumers).max(MIN_IN_FLIGHT_BYTES),
        };
        let ends = self.ends.get(&trigger);
        let ends = ends.ok_or_else(|| anyhow::anyhow!("no watch of the ends of {topic}"))?;
        let (completed, completions) = mpsc::channel();
        let handler = self.event_handler(role);
        let runner = handler.run.as_ref().map(|(_, runner)| Arc::clone(runner));
        self.metrics.create_consumer_series(role.label(), trigger);
        Ok(EventConsumer {
            member,
            role: role.clone(),
            group,
            topic: topic.to_owned(),
            runner,
            partitions: Partitions::new(limits),
            // Pauses apply to endings only: a delayed warning is useless.
            operator_paused: (trigger == Trigger::Ending).then(|| self.policies.paused()),
            ends: ends.clone(),
            last_ends: BTreeMap::new(),
            assignments: self.assignments.clone(),
            dispatch: dispatcher(handler, completed),
            completions,
            stop,
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            clock: Clock::default(),
        })
    }
}

/// Returns a function that queues an event in its user's lane if it needs anything, and sends its
/// completion when it has been handled.
fn dispatcher(
    handler: EventHandler,
    completed: mpsc::Sender<Completion>,
) -> impl Fn(InFlight) + Send + use<> {
    let handler = Arc::new(handler);
    let in_lane = (Arc::clone(&handler), completed.clone());
    let lanes = Lanes::new(
        Handle::current(),
        move |(in_flight, need): (InFlight, Need)| {
            let (handler, completed) = in_lane.clone();
            async move {
                let in_flight = Arc::new(in_flight);
                let finished = handler.handle(&in_flight, need).await;
                // The consumer is gone only when the process stops.
                let _ = completed.send(in_flight.complete(finished));
            }
        },
    );
    move |in_flight| match handler.need(&in_flight) {
        Need::Nothing(result) => {
            let finished = handler.finish(&in_flight, result);
            let _ = completed.send(in_flight.complete(finished));
        }
        need => lanes.spawn(in_flight.order_key(), (in_flight, need)),
    }
}
