//! Wires consumers, handlers and action runners together.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::action_runner::ActionRunner;
use super::args::Settings;
use super::assignments::Assignments;
use super::circuit_breaker::CircuitBreaker;
use super::consumer::EventConsumer;
use super::dead_letters::DeadLetterWriter;
use super::event::Trigger;
use super::event_handler::EventHandler;
use super::in_flight::{Completion, InFlight};
use super::lanes::Lanes;
use super::partitions::{InFlightLimits, Partitions};
use super::policies::PolicyActions;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::health::Health;
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::Member;

/// Events in flight per attempt slot: enough to keep all slots busy while events wait for
/// earlier ones of their user or for a retry.
const IN_FLIGHT_PER_SLOT: usize = 16;
/// The memory that records in flight may take.
const MAX_IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
/// The state that the consumers of endings and of warnings share.
pub struct ActionContext {
    runners: Arc<[ActionRunner]>,
    policies: PolicyActions,
    assignments: Assignments,
    health: Health,
    metrics: HandlerMetrics,
}

impl ActionContext {
    #[must_use]
    pub fn new(
        settings: &Settings,
        policies: PolicyActions,
        assignments: Assignments,
        health: &Health,
        metrics: &HandlerMetrics,
    ) -> Self {
        let retry = settings.actions.retry;
        let slots = Arc::new(Semaphore::new(settings.concurrency));
        let runners = settings.actions.list.iter().map(|named| {
            let (name, health) = (named.name.clone(), health.clone());
            ActionRunner {
                named: named.clone(),
                circuit: CircuitBreaker::new(name, retry, health, metrics.clone()),
                retry,
                slots: Arc::clone(&slots),
                metrics: metrics.clone(),
                clock: Clock::default(),
            }
        });
        Self {
            runners: runners.collect(),
            policies,
            assignments,
            health: health.clone(),
            metrics: metrics.clone(),
        }
    }

    fn event_handler(&self, trigger: Trigger, settings: &Settings) -> anyhow::Result<EventHandler> {
        let dead_letters = || {
            DeadLetterWriter::new(
                settings.client.clone(),
                settings.topics.expired_sessions_dlq.clone(),
                self.health.clone(),
                self.metrics.clone(),
            )
        };
        Ok(EventHandler {
            runners: Arc::clone(&self.runners),
            policies: self.policies.clone(),
            dead_letters: match trigger {
                Trigger::Ending => Some(dead_letters()?),
                Trigger::Warning => None,
            },
            metrics: self.metrics.clone(),
            clock: Clock::default(),
        })
    }

    /// Creates the consumer of one kind of event. Warnings have their own group, so that an
    /// unavailable mail server delays no logout.
    ///
    /// # Errors
    /// If librdkafka does not accept the configuration.
    pub fn consumer(
        &self,
        trigger: Trigger,
        settings: &Settings,
        stop: CancellationToken,
    ) -> anyhow::Result<EventConsumer<impl Fn(InFlight) + Send + use<>>> {
        let (topic, group) = match trigger {
            Trigger::Ending => (&settings.topics.expired_sessions, settings.group.clone()),
            Trigger::Warning => (
                &settings.topics.expiring_sessions,
                format!("{}-warnings", settings.group),
            ),
        };
        let member = Member::new(settings.member(&group), topic, Clock::default())?;
        member.consumer().subscribe()?;
        let limits = InFlightLimits {
            events: settings.concurrency * IN_FLIGHT_PER_SLOT,
            bytes: MAX_IN_FLIGHT_BYTES,
        };
        // The last stable offset: the end that readers of committed records see.
        let interval = Duration::from_secs(1);
        let ends = EndOffsetWatch::start_with_interval(
            settings.client.clone(),
            topic.clone(),
            interval,
            Clock::default(),
            stop.clone(),
        )?;
        let (completed, completions) = mpsc::channel();
        let handler = self.event_handler(trigger, settings)?;
        Ok(EventConsumer {
            member,
            topic: topic.clone(),
            trigger,
            partitions: Partitions::new(limits),
            // Pauses apply to endings only: a delayed warning is useless.
            operator_paused: (trigger == Trigger::Ending).then(|| self.policies.paused()),
            ends,
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

/// Returns a function that queues an event in its user's lane, and sends its completion when it
/// has been handled.
fn dispatcher(
    handler: EventHandler,
    completed: mpsc::Sender<Completion>,
) -> impl Fn(InFlight) + Send + use<> {
    let handler = Arc::new(handler);
    let lanes = Lanes::new(Handle::current(), move |in_flight: InFlight| {
        let (handler, completed) = (Arc::clone(&handler), completed.clone());
        async move {
            let in_flight = Arc::new(in_flight);
            let finished = handler.handle(&in_flight).await;
            // The consumer is gone only when the process stops.
            let _ = completed.send(in_flight.complete(finished));
        }
    });
    move |in_flight| lanes.spawn(in_flight.order_key(), in_flight)
}
