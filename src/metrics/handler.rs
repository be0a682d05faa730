//! What the handler counts.

use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    register_histogram_vec_with_registry as histograms,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges, register_int_gauge_with_registry as gauge,
};

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
    unreachable: IntGaugeVec,
    dead_letters: IntCounterVec,
    in_flight: IntGauge,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// Every action has succeeded.
    Done,
    /// It is in the dead-letter topic.
    DeadLettered,
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
                "Terminal events by what became of them.",
                &["result"],
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
            unreachable: gauges!(
                "sundown_handler_action_unreachable",
                "1 while the action's target cannot be reached and events wait for it.",
                &["action"],
                registry
            )?,
            dead_letters: counters!(
                "sundown_handler_dead_letters_total",
                "Terminal events written to the dead-letter topic by reason.",
                &["reason"],
                registry
            )?,
            in_flight: gauge!(
                "sundown_handler_in_flight_events",
                "Terminal events read and not finished.",
                registry
            )?,
        };
        for result in EventResult::ALL {
            metrics.events.with_label_values(&[result.as_str()]);
        }
        for action in actions {
            for result in AttemptResult::ALL {
                metrics
                    .attempts
                    .with_label_values(&[action, result.as_str()]);
            }
            metrics.durations.with_label_values(&[action]);
            metrics.unreachable.with_label_values(&[action]);
        }
        for reason in dead_letter_reasons {
            metrics.dead_letters.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// An event is finished.
    pub fn event(&self, result: EventResult) {
        self.events.with_label_values(&[result.as_str()]).inc();
    }

    /// An attempt of an action is over.
    pub fn attempt(&self, action: &str, result: AttemptResult, took: Duration) {
        let labels = [action, result.as_str()];
        self.attempts.with_label_values(&labels).inc();
        self.durations
            .with_label_values(&[action])
            .observe(took.as_secs_f64());
    }

    /// Whether the target of an action can be reached.
    pub fn unreachable(&self, action: &str, unreachable: bool) {
        let gauge = self.unreachable.with_label_values(&[action]);
        gauge.set(i64::from(unreachable));
    }

    /// A dead letter has been written.
    pub fn dead_letter(&self, reason: &str) {
        self.dead_letters.with_label_values(&[reason]).inc();
    }

    /// How many events are being worked on.
    pub fn in_flight(&self, events: usize) {
        self.in_flight
            .set(i64::try_from(events).unwrap_or(i64::MAX));
    }
}

impl EventResult {
    const ALL: [Self; 3] = [Self::Done, Self::DeadLettered, Self::Released];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DeadLettered => "dead_lettered",
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
