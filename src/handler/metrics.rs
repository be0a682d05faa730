//! Metrics of the handler.

mod group;

use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounterVec, IntGaugeVec, Registry,
    register_histogram_vec_with_registry as histograms,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges,
};

use crate::handler::action::error::{ActionError, Fault};
use crate::handler::event::Trigger;
use group::GroupMetrics;

/// From a local call to the longest sensible timeout, in seconds.
const DURATION_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// From immediate success to an hour of retries, in seconds.
const AGE_BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
];

/// The `action` label of the consumer that only checks events; equal to no label.
pub const NO_ACTION: &str = "";

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
    backlog: IntGaugeVec,
    group: GroupMetrics,
}

/// The `result` label of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// The action has succeeded; without an action, the event is well-formed.
    Done,
    /// The event's policy or redrive does not select the action.
    Skipped,
    /// The event has been written to the dead-letter topic.
    DeadLettered,
    /// A warning was outdated, or its actions failed. A late warning helps no user.
    Dropped,
    /// The partition was revoked, or the process stops: the event is redelivered.
    Cancelled,
}

/// The `result` label of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// The action has succeeded, with or without retries.
    Done,
    /// The target refused the event.
    Refused,
    /// Attempts or total time were used up.
    Exhausted,
    /// The partition was revoked, or the process stops.
    Cancelled,
}

/// The `result` label of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    Ok,
    Failed(Fault),
}

impl HandlerMetrics {
    /// Registers the metrics. Every series of the closed label sets exists from the start, so
    /// that a rate over a counter includes its first increment.
    ///
    /// # Errors
    /// If the registry already has metrics of these names.
    pub fn new<'a>(
        registry: &Registry,
        actions: impl IntoIterator<Item = &'a str>,
        dead_letter_reasons: &[&str],
    ) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            events: counters!(
                "sundown_handler_events_total",
                "Terminal events and warnings handled for an action, by result; without an action: checked.",
                &["action", "trigger", "result"],
                registry
            )?,
            ages: histograms!(
                "sundown_handler_event_age_seconds",
                "Time from an event's Kafka timestamp until an action had finished it.",
                &["action", "trigger"],
                AGE_BUCKETS.to_vec(),
                registry
            )?,
            actions: counters!(
                "sundown_handler_actions_total",
                "Actions run for events, retries included, by result.",
                &["action", "result"],
                registry
            )?,
            attempts: counters!(
                "sundown_handler_action_attempts_total",
                "Attempts of actions, by result: ok, or the side at fault.",
                &["action", "result"],
                registry
            )?,
            durations: histograms!(
                "sundown_handler_action_duration_seconds",
                "Duration of attempts of actions.",
                &["action"],
                DURATION_BUCKETS.to_vec(),
                registry
            )?,
            circuits: gauges!(
                "sundown_handler_circuit_open",
                "1 while the circuit breaker of an action is open or half-open and its events wait.",
                &["action"],
                registry
            )?,
            dead_letters: counters!(
                "sundown_handler_dead_letters_total",
                "Terminal events written to the dead-letter topic, by pending action and reason.",
                &["action", "reason"],
                registry
            )?,
            in_flight: gauges!(
                "sundown_handler_in_flight_events",
                "Events read and not finished.",
                &["action", "trigger"],
                registry
            )?,
            paused: gauges!(
                "sundown_handler_paused_partitions",
                "Partitions paused because too many events are in flight.",
                &["action", "trigger"],
                registry
            )?,
            backlog: gauges!(
                "sundown_handler_backlog_events",
                "Offsets from the oldest event that an action has not finished to the end of its partitions.",
                &["action", "trigger"],
                registry
            )?,
            group: GroupMetrics::new(registry)?,
        };
        let actions: Vec<_> = actions.into_iter().collect();
        metrics.create_series(&actions, dead_letter_reasons);
        Ok(metrics)
    }

    fn create_series(&self, actions: &[&str], dead_letter_reasons: &[&str]) {
        for reason in dead_letter_reasons {
            for action in [NO_ACTION].iter().chain(actions) {
                self.dead_letters.with_label_values(&[action, reason]);
            }
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
    }

    /// Creates the series of a consumer, so that rates include their first increments.
    pub fn create_consumer_series(&self, action: &str, trigger: Trigger) {
        let labels = [action, trigger.as_str()];
        for result in EventResult::ALL {
            self.events
                .with_label_values(&[action, trigger.as_str(), result.as_str()]);
        }
        self.group.create_series(labels);
        self.in_flight.with_label_values(&labels);
        self.paused.with_label_values(&labels);
        self.backlog.with_label_values(&labels);
        if action != NO_ACTION {
            self.ages.with_label_values(&labels);
        }
    }

    pub fn count_event(&self, action: &str, trigger: Trigger, result: EventResult) {
        let labels = [action, trigger.as_str(), result.as_str()];
        self.events.with_label_values(&labels).inc();
    }

    /// Records the age of an event when an action has finished it.
    pub fn observe_event_age(&self, action: &str, trigger: Trigger, age: Duration) {
        let histogram = self.ages.with_label_values(&[action, trigger.as_str()]);
        histogram.observe(age.as_secs_f64());
    }

    pub fn count_action(&self, action: &str, result: ActionResult) {
        let labels = [action, result.as_str()];
        self.actions.with_label_values(&labels).inc();
    }

    /// Counts a rebalance (`assigned`, `revoked` or `lost`) that leaves `partitions` assigned.
    pub fn count_rebalance(&self, action: &str, trigger: Trigger, kind: &str, partitions: usize) {
        let labels = [action, trigger.as_str()];
        self.group.count_rebalance(labels, kind, partitions);
    }

    pub fn observe_attempt(&self, action: &str, result: AttemptResult, took: Duration) {
        let labels = [action, result.as_str()];
        self.attempts.with_label_values(&labels).inc();
        self.durations
            .with_label_values(&[action])
            .observe(took.as_secs_f64());
    }

    pub fn set_circuit_open(&self, action: &str, open: bool) {
        let gauge = self.circuits.with_label_values(&[action]);
        gauge.set(i64::from(open));
    }

    pub fn count_dead_letter(&self, action: &str, reason: &str) {
        self.dead_letters.with_label_values(&[action, reason]).inc();
    }

    pub fn set_in_flight(&self, action: &str, trigger: Trigger, events: usize) {
        let gauge = self
            .in_flight
            .with_label_values(&[action, trigger.as_str()]);
        gauge.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// Sets the number of offsets that an action has not finished.
    pub fn set_backlog(&self, action: &str, trigger: Trigger, offsets: i64) {
        let gauge = self.backlog.with_label_values(&[action, trigger.as_str()]);
        gauge.set(offsets);
    }

    /// Sets the number of partitions that an operator has paused.
    pub fn set_operator_paused(&self, action: &str, trigger: Trigger, partitions: usize) {
        let labels = [action, trigger.as_str()];
        self.group.set_operator_paused(labels, partitions);
    }

    /// Sets the number of partitions that are paused because too many events are in flight.
    pub fn set_backpressured(&self, action: &str, trigger: Trigger, partitions: usize) {
        let gauge = self.paused.with_label_values(&[action, trigger.as_str()]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }
}

impl EventResult {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Skipped,
        Self::DeadLettered,
        Self::Dropped,
        Self::Cancelled,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
            Self::Cancelled => "cancelled",
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
            Self::Cancelled => "cancelled",
        }
    }
}

impl AttemptResult {
    const ALL: [Self; 5] = [
        Self::Ok,
        Self::Failed(Fault::Event),
        Self::Failed(Fault::Handler),
        Self::Failed(Fault::Target),
        Self::Failed(Fault::TargetDown),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(fault) => fault.as_str(),
        }
    }
}

impl From<&Result<(), ActionError>> for AttemptResult {
    fn from(result: &Result<(), ActionError>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(error) => Self::Failed(error.fault),
        }
    }
}
