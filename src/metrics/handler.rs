//! What the handler counts.

use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounterVec, IntGaugeVec, Registry,
    register_histogram_vec_with_registry as histograms,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges,
};

use crate::handler::event::Occasion;

/// From a local call to the longest timeout that makes sense, in seconds.
const DURATION_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The handler's metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct HandlerMetrics {
    events: IntCounterVec,
    attempts: IntCounterVec,
    durations: HistogramVec,
    circuits: IntGaugeVec,
    dead_letters: IntCounterVec,
    in_flight: IntGaugeVec,
    paused: IntGaugeVec,
    held: IntGaugeVec,
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
    Released,
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
                &["occasion", "result"],
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
                &["occasion"],
                registry
            )?,
            paused: gauges!(
                "sundown_handler_paused_partitions",
                "Partitions that are not read because too much is in flight.",
                &["occasion"],
                registry
            )?,
            held: gauges!(
                "sundown_handler_operator_paused_partitions",
                "Partitions that are not read because somebody has paused them.",
                &["occasion"],
                registry
            )?,
        };
        metrics.begin();
        for action in actions {
            for result in AttemptResult::ALL {
                metrics
                    .attempts
                    .with_label_values(&[action, result.as_str()]);
            }
            metrics.durations.with_label_values(&[action]);
            metrics.circuits.with_label_values(&[action]);
        }
        for reason in dead_letter_reasons {
            metrics.dead_letters.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// Makes the series of all occasions.
    fn begin(&self) {
        for occasion in [Occasion::Ending, Occasion::Warning].map(Occasion::as_str) {
            for result in EventResult::ALL {
                self.events.with_label_values(&[occasion, result.as_str()]);
            }
            self.in_flight.with_label_values(&[occasion]);
            self.paused.with_label_values(&[occasion]);
            self.held.with_label_values(&[occasion]);
        }
    }

    /// An event is finished.
    pub fn event(&self, occasion: Occasion, result: EventResult) {
        let labels = [occasion.as_str(), result.as_str()];
        self.events.with_label_values(&labels).inc();
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
    pub fn in_flight(&self, occasion: Occasion, events: usize) {
        let gauge = self.in_flight.with_label_values(&[occasion.as_str()]);
        gauge.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// How many partitions somebody has paused.
    pub fn held(&self, occasion: Occasion, partitions: usize) {
        let gauge = self.held.with_label_values(&[occasion.as_str()]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    /// How many partitions are paused because too much is in flight.
    pub fn paused(&self, occasion: Occasion, partitions: usize) {
        let gauge = self.paused.with_label_values(&[occasion.as_str()]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }
}

impl EventResult {
    const ALL: [Self; 4] = [
        Self::Done,
        Self::DeadLettered,
        Self::Dropped,
        Self::Released,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
            Self::Released => "released",
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
