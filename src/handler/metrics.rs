//! What the handler counts.

mod group;

use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounterVec, IntGaugeVec, Registry,
    register_histogram_vec_with_registry as histograms,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges,
};

use crate::handler::event::Trigger;
use group::GroupMetrics;

/// From a local call to the longest timeout that makes sense, in seconds.
const DURATION_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// From at once to an hour of retries, in seconds.
const AGE_BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
];

/// The handler's metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct HandlerMetrics {
    events: IntCounterVec,
    ages: HistogramVec,
    actions: IntCounterVec,
    attempts: IntCounterVec,
    durations: HistogramVec,
    circuits: IntGaugeVec,
    dead_letters: IntCounterVec,
    in_flight: IntGaugeVec,
    paused: IntGaugeVec,
    group: GroupMetrics,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// Every action has succeeded.
    Done,
    /// It is in the dead-letter topic.
    DeadLettered,
    /// A warning that came too late, or that could not be passed on: the session is over,
    /// or soon will be, and nobody is helped by hearing of it later.
    Dropped,
    /// Its partition went away, or the process stops: it is delivered again elsewhere.
    Cancelled,
}

/// How an action on an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It succeeded, perhaps after some attempts.
    Done,
    /// Its target refused.
    Refused,
    /// Its attempts or its time were used up.
    Exhausted,
    /// Its partition went away, or the process stops.
    Cancelled,
}

/// How an attempt of an action went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// It succeeded.
    Ok,
    /// Later, perhaps.
    Retryable,
    /// Never.
    Permanent,
    /// Nobody was there.
    Unreachable,
}

impl HandlerMetrics {
    /// Registers the metrics. Every series of the closed label sets exists from the start,
    /// so that a rate over a counter does not miss its first step.
    ///
    /// # Errors
    /// If the registry has metrics by these names already.
    pub fn new<'a>(
        registry: &Registry,
        actions: impl IntoIterator<Item = &'a str>,
        dead_letter_reasons: &[&str],
    ) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            events: counters!(
                "sundown_handler_events_total",
                "Terminal events and warnings by what became of them.",
                &["trigger", "result"],
                registry
            )?,
            ages: histograms!(
                "sundown_handler_event_age_seconds",
                "From an event's Kafka timestamp until it was finished.",
                &["trigger"],
                AGE_BUCKETS.to_vec(),
                registry
            )?,
            actions: counters!(
                "sundown_handler_actions_total",
                "Actions on events by how they ended, retries and all.",
                &["action", "result"],
                registry
            )?,
            attempts: counters!(
                "sundown_handler_action_attempts_total",
                "Attempts of actions by how they went.",
                &["action", "result"],
                registry
            )?,
            durations: histograms!(
                "sundown_handler_action_duration_seconds",
                "How long attempts of actions took.",
                &["action"],
                DURATION_BUCKETS.to_vec(),
                registry
            )?,
            circuits: gauges!(
                "sundown_handler_circuit_open",
                "1 while the action's target fails and events wait for it.",
                &["action"],
                registry
            )?,
            dead_letters: counters!(
                "sundown_handler_dead_letters_total",
                "Terminal events written to the dead-letter topic by reason.",
                &["reason"],
                registry
            )?,
            in_flight: gauges!(
                "sundown_handler_in_flight_events",
                "Events read and not finished.",
                &["trigger"],
                registry
            )?,
            paused: gauges!(
                "sundown_handler_paused_partitions",
                "Partitions that are not read because too much is in flight.",
                &["trigger"],
                registry
            )?,
            group: GroupMetrics::new(registry)?,
        };
        metrics.fill(actions, dead_letter_reasons);
        Ok(metrics)
    }

    /// Has every series shown.
    fn fill<'a>(&self, actions: impl IntoIterator<Item = &'a str>, dead_letter_reasons: &[&str]) {
        for trigger in [Trigger::Ending, Trigger::Warning].map(Trigger::as_str) {
            for result in EventResult::ALL {
                self.events.with_label_values(&[trigger, result.as_str()]);
            }
            self.group.fill(trigger);
            self.ages.with_label_values(&[trigger]);
            self.in_flight.with_label_values(&[trigger]);
            self.paused.with_label_values(&[trigger]);
        }
        for action in actions {
            for result in AttemptResult::ALL {
                self.attempts.with_label_values(&[action, result.as_str()]);
            }
            for result in ActionResult::ALL {
                self.actions.with_label_values(&[action, result.as_str()]);
            }
            self.durations.with_label_values(&[action]);
            self.circuits.with_label_values(&[action]);
        }
        for reason in dead_letter_reasons {
            self.dead_letters.with_label_values(&[reason]);
        }
    }

    /// An event is finished.
    pub fn event(&self, trigger: Trigger, result: EventResult) {
        let labels = [trigger.as_str(), result.as_str()];
        self.events.with_label_values(&labels).inc();
    }

    /// An event was finished so long after it had been written.
    pub fn age(&self, trigger: Trigger, age: Duration) {
        let histogram = self.ages.with_label_values(&[trigger.as_str()]);
        histogram.observe(age.as_secs_f64());
    }

    /// An action on an event is over.
    pub fn action(&self, action: &str, result: ActionResult) {
        let labels = [action, result.as_str()];
        self.actions.with_label_values(&labels).inc();
    }

    /// The group has given (`assigned`), taken (`revoked`) or re-given (`lost`) partitions,
    /// which left so many.
    pub fn rebalanced(&self, trigger: Trigger, kind: &str, partitions: usize) {
        self.group.rebalanced(trigger.as_str(), kind, partitions);
    }

    /// An attempt of an action is over.
    pub fn attempt(&self, action: &str, result: AttemptResult, took: Duration) {
        let labels = [action, result.as_str()];
        self.attempts.with_label_values(&labels).inc();
        self.durations
            .with_label_values(&[action])
            .observe(took.as_secs_f64());
    }

    /// Whether events wait for the target of an action.
    pub fn circuit_open(&self, action: &str, open: bool) {
        let gauge = self.circuits.with_label_values(&[action]);
        gauge.set(i64::from(open));
    }

    /// A dead letter has been written.
    pub fn dead_letter(&self, reason: &str) {
        self.dead_letters.with_label_values(&[reason]).inc();
    }

    /// How many events are being worked on.
    pub fn in_flight(&self, trigger: Trigger, events: usize) {
        let gauge = self.in_flight.with_label_values(&[trigger.as_str()]);
        gauge.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// How many partitions somebody has paused.
    pub fn held(&self, trigger: Trigger, partitions: usize) {
        self.group.held(trigger.as_str(), partitions);
    }

    /// How many partitions are paused because too much is in flight.
    pub fn paused(&self, trigger: Trigger, partitions: usize) {
        let gauge = self.paused.with_label_values(&[trigger.as_str()]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }
}

impl EventResult {
    const ALL: [Self; 4] = [
        Self::Done,
        Self::DeadLettered,
        Self::Dropped,
        Self::Cancelled,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
            Self::Cancelled => "released",
        }
    }
}

impl ActionResult {
    const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Exhausted, Self::Cancelled];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "released",
        }
    }
}

impl AttemptResult {
    const ALL: [Self; 4] = [
        Self::Ok,
        Self::Retryable,
        Self::Permanent,
        Self::Unreachable,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Unreachable => "unreachable",
        }
    }
}
