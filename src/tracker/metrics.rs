//! The tracker's metrics.

mod clocks;
mod partitions;
mod upstream;

use std::time::Duration;

use prometheus::core::{Collector, Metric};
use prometheus::proto::MetricFamily;
use prometheus::{Error, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::clock::clocks::ClockHold;
use crate::metrics::factory::MetricFactory;
use crate::metrics::series::SeriesSet;
use crate::processes::{ActivePolicy, LatenessBucket, Totals};
use crate::session::{EndReason, Span, Timestamp};
use crate::tracker::forwarding::{FORWARDING_LOOP, ForwardCause};
use crate::tracker::outbox::{CHECKPOINT_KINDS, OutputCounts};
use crate::tracker::partition::{PartitionCounters, TOO_MANY_SESSIONS};
use crate::tracker::routing::RoutingHold;
use crate::tracker::state_hold::StateHold;
use crate::wire::event::DecodeError;
use crate::wire::watermark::Upstream;
use clocks::ClockMetrics;
use partitions::PartitionMetrics;
use upstream::UpstreamMetrics;

pub use partitions::{AssignedPartition, LivePartition};

/// From ten milliseconds to five minutes.
const LATENESS_BUCKETS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// From a millisecond to half a minute.
const DURATION_BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// From an empty partition to one of many millions of sessions.
const RESTORE_BUCKETS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Reasons for which an event changes nothing.
const DROPPED_EVENTS: [&str; 4] = ["already_ended", "in_flight", "stale", "too_many_deferred"];

/// The metrics of a tracker.
#[derive(Clone, Debug)]
pub struct TrackerMetrics {
    events: IntCounter,
    started: IntCounter,
    late: IntCounter,
    clamped: IntCounter,
    forwarded: IntCounterVec,
    dropped_attributes: IntCounterVec,
    dropped_events: IntCounterVec,
    revived: IntCounter,
    forgotten_early: IntCounter,
    endings: IntCounterVec,
    warnings: IntCounter,
    dead_letters: IntCounterVec,
    lateness: Histogram,
    checkpoint_writes: IntCounterVec,
    transactions: IntCounterVec,
    transaction_seconds: Histogram,
    fenced_producers: IntCounter,
    rebalances: IntCounterVec,
    restored_records: IntCounter,
    replayed_records: IntCounter,
    restore_seconds: Histogram,
    failed_restores: IntCounter,
    degraded_restores: IntCounter,
    held_partitions: IntGaugeVec,
    max_sessions: IntGauge,
    memory_limit: IntGauge,
    partitions: PartitionMetrics,
    clocks: ClockMetrics,
    routing_hold: IntGaugeVec,
    upstream: UpstreamMetrics,
    rejected_policies: IntCounter,
    policy_generations: IntGaugeVec,
    policies_shown: SeriesSet,
}

impl TrackerMetrics {
    /// Registers the metrics in `registry`.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let register = MetricFactory(registry);
        let metrics = Self {
            events: register.counter("sundown_tracker_events_total", "Records read from the session event topic.")?,
            started: register.counter("sundown_tracker_sessions_started_total", "Sessions started.")?,
            late: register.counter("sundown_tracker_late_events_total", "Events dropped because their session would already have ended.")?,
            clamped: register.counter("sundown_tracker_clamped_events_total", "Events whose time was too far in the future and was replaced by their record's timestamp.")?,
            forwarded: register.counters("sundown_tracker_forwarded_events_total", "Events that belonged on other partitions and were forwarded to them, by cause.", "cause")?,
            dropped_attributes: register.counters("sundown_tracker_dropped_attributes_total", "Attributes dropped from events: not a string, number or boolean, or beyond --max-attributes.", "reason")?,
            dropped_events: register.counters("sundown_tracker_dropped_events_total", "Events that changed nothing: repeated or echoed ends, traffic under way when a session ended, and ends of earlier sessions that came too late.", "reason")?,
            revived: register.counter("sundown_tracker_revived_sessions_total", "Sessions started by activity after a revocation of their id, which an application did not honour.")?,
            forgotten_early: register.counter("sundown_tracker_forgotten_endings_total", "Remembered endings and revocations that were dropped before their time because of a bound.")?,
            endings: register.counters("sundown_tracker_endings_total", "Sessions ended, in committed transactions.", "reason")?,
            warnings: register.counter("sundown_tracker_warnings_total", "Warnings written, in committed transactions.")?,
            dead_letters: register.counters("sundown_tracker_dead_letters_total", "Records sent to the dead-letter topic, in committed transactions.", "reason")?,
            lateness: register.histogram("sundown_tracker_expiry_lateness_seconds", "Time from a session's deadline plus the allowed lateness until its terminal event is committed.", &LATENESS_BUCKETS)?,
            checkpoint_writes: register.counters("sundown_tracker_checkpoint_writes_total", "Records written to the checkpoint topic, in committed transactions.", "kind")?,
            transactions: register.counters("sundown_tracker_transactions_total", "Transactions by result; with at-least-once delivery, flushes.", "result")?,
            transaction_seconds: register.histogram("sundown_tracker_transaction_duration_seconds", "Duration of transactions.", &DURATION_BUCKETS)?,
            fenced_producers: register.counter("sundown_tracker_fenced_producers_total", "Transactions that the brokers fenced.")?,
            rebalances: register.counters("sundown_tracker_rebalances_total", "Rebalances that assigned, revoked or lost partitions.", "kind")?,
            restored_records: register.counter("sundown_tracker_restored_records_total", "Checkpoint records read by restores.")?,
            replayed_records: register.counter("sundown_tracker_replayed_records_total", "Source records replayed by restores.")?,
            restore_seconds: register.histogram("sundown_tracker_restore_duration_seconds", "Duration of the restore of a partition.", &RESTORE_BUCKETS)?,
            failed_restores: register.counter("sundown_tracker_failed_restores_total", "Restores that failed and were retried.")?,
            degraded_restores: register.counter("sundown_tracker_degraded_restores_total", "Restores that treated every session as active because source records were gone.")?,
            held_partitions: register.gauges("sundown_tracker_held_partitions", "Assigned partitions whose sessions do not end because log, checkpoint and committed offset do not belong together.", "reason")?,
            max_sessions: register.gauge("sundown_tracker_max_sessions", "Bound on the sessions of one partition (--max-sessions).")?,
            memory_limit: register.gauge("sundown_tracker_memory_limit_bytes", "Resident memory at which no more is taken for sessions (--memory-limit); 0 without a limit.")?,
            partitions: PartitionMetrics::new(&register)?,
            clocks: ClockMetrics::new(&register)?,
            routing_hold: register.gauges("sundown_tracker_routing_hold", "1 for the reason for which no session may end although the clocks agree, if any.", "reason")?,
            upstream: UpstreamMetrics::new(&register)?,
            rejected_policies: register.counter("sundown_tracker_rejected_policies_total", "Records of the policy topic that were rejected; the policies before them stayed active.")?,
            policy_generations: register.gauges("sundown_tracker_policy_generation", "Generation of the active policy; 0 for the built-in one.", "policy")?,
            policies_shown: SeriesSet::default(),
        };
        metrics.held([].into_iter());
        for reason in EndReason::ALL {
            metrics.endings.with_label_values(&[reason.as_str()]);
        }
        for (counters, values) in [
            (&metrics.transactions, &["committed", "aborted"][..]),
            (&metrics.checkpoint_writes, &CHECKPOINT_KINDS),
            (&metrics.dropped_events, &DROPPED_EVENTS),
            (&metrics.rebalances, &["assigned", "revoked", "lost"]),
            (&metrics.dead_letters, &DecodeError::CODES),
            (&metrics.dead_letters, &[TOO_MANY_SESSIONS, FORWARDING_LOOP]),
            (&metrics.dropped_attributes, &["unusable", "too_large"]),
            (
                &metrics.forwarded,
                &ForwardCause::ALL.map(ForwardCause::as_str),
            ),
        ] {
            for value in values {
                counters.with_label_values(&[value]);
            }
        }
        metrics.routing(None);
        Ok(metrics)
    }

    /// Adds the counters of a partition.
    pub fn add_counters(&self, counters: &PartitionCounters) {
        self.events.inc_by(counters.events);
        for (cause, count) in counters.forwarded.iter() {
            self.forwarded
                .with_label_values(&[cause.as_str()])
                .inc_by(count);
        }
        let dropped = counters.dropped_attributes;
        for (reason, count) in [
            ("unusable", dropped.unusable),
            ("too_large", dropped.too_large),
        ] {
            let counter = self.dropped_attributes.with_label_values(&[reason]);
            counter.inc_by(u64::from(count));
        }
        self.started.inc_by(counters.table.started);
        self.late.inc_by(counters.table.late);
        self.clamped.inc_by(counters.table.clamped);
        self.revived.inc_by(counters.table.revived);
        self.forgotten_early.inc_by(counters.table.forgotten_early);
        let table = &counters.table;
        let counts = [
            table.already_ended,
            table.in_flight,
            table.stale,
            table.deferred_dropped,
        ];
        for (reason, count) in DROPPED_EVENTS.into_iter().zip(counts) {
            let dropped = self.dropped_events.with_label_values(&[reason]);
            dropped.inc_by(count);
        }
    }

    /// Counts the outputs of a batch that was committed at `now`; `allowed_lateness` does not
    /// count as lateness.
    pub fn committed(
        &self,
        counts: &OutputCounts,
        now: Timestamp,
        allowed_lateness: Span,
        took: Duration,
    ) {
        self.transaction("committed", took);
        for (reason, count) in &counts.endings {
            let endings = self.endings.with_label_values(&[reason.as_str()]);
            endings.inc_by(*count);
        }
        for deadline in &counts.deadlines {
            let late = now.since(*deadline + allowed_lateness);
            self.lateness.observe(seconds_of(late));
        }
        self.warnings.inc_by(counts.warnings);
        for (kind, count) in &counts.checkpoint_writes {
            self.checkpoint_writes
                .with_label_values(&[kind])
                .inc_by(*count);
        }
        for (reason, count) in &counts.dead_letters {
            let dead_letters = self.dead_letters.with_label_values(&[reason]);
            dead_letters.inc_by(*count);
        }
    }

    /// Counts an aborted transaction.
    pub fn aborted(&self, took: Duration) {
        self.transaction("aborted", took);
    }

    /// Counts a rebalance of this kind: `assigned`, `revoked` or `lost`.
    pub fn rebalanced(&self, kind: &'static str) {
        self.rebalances.with_label_values(&[kind]).inc();
    }

    /// Counts a restore that took this long and succeeded or failed.
    pub fn restore(&self, took: Duration, ok: bool) {
        if ok {
            self.restore_seconds.observe(took.as_secs_f64());
        } else {
            self.failed_restores.inc();
        }
    }

    /// Counts the records of a restore.
    pub fn restored(&self, records: u64, replayed: u64, degraded: bool) {
        self.restored_records.inc_by(records);
        self.replayed_records.inc_by(replayed);
        self.degraded_restores.inc_by(u64::from(degraded));
    }

    /// Shows the held partitions.
    pub fn held<'a>(&self, holds: impl Iterator<Item = &'a StateHold>) {
        for reason in StateHold::REASONS {
            self.held_partitions.with_label_values(&[reason]).set(0);
        }
        for hold in holds {
            let gauge = self.held_partitions.with_label_values(&[hold.reason()]);
            gauge.inc();
        }
    }

    /// Counts a fenced transaction.
    pub fn fenced(&self) {
        self.fenced_producers.inc();
    }

    /// Shows the number of partitions of the source topic.
    pub fn set_topic_partitions(&self, count: i32) {
        self.partitions.of_topic(count);
    }

    /// Sets the bound on resident memory; `None` if there is none.
    pub fn set_memory_limit(&self, bytes: Option<u64>) {
        let bytes = i64::try_from(bytes.unwrap_or_default());
        self.memory_limit.set(bytes.unwrap_or(i64::MAX));
    }

    /// Sets the bound on the sessions of a partition.
    pub fn set_max_sessions(&self, max_sessions: usize) {
        let max_sessions = i64::try_from(max_sessions).unwrap_or(i64::MAX);
        self.max_sessions.set(max_sessions);
    }

    /// Shows the assigned partitions.
    pub fn assignment(&self, partitions: impl Iterator<Item = AssignedPartition>) {
        self.partitions.show(partitions);
    }

    /// Shows the reason for which no session may end, if any.
    pub fn clocks(&self, hold: Option<&ClockHold>) {
        self.clocks.hold(hold);
    }

    /// Shows how far this machine's clock is ahead of the brokers', if that is known.
    pub fn clock_skew(&self, skew: Option<Span>) {
        self.clocks.skew(skew.map(seconds_of));
    }

    /// Shows the active policies and no others.
    pub fn policies(&self, policies: &[ActivePolicy]) {
        for policy in policies {
            let generation = i64::try_from(policy.generation).unwrap_or(i64::MAX);
            self.policy_generations
                .with_label_values(&[&policy.name])
                .set(generation);
        }
        let now = policies.iter().map(|policy| vec![policy.name.clone()]);
        self.policies_shown.replace(now.collect(), |labels| {
            // The label was set before and is removed only here.
            let _removed = self.policy_generations.remove_label_values(labels);
        });
    }

    /// Returns the totals for process reports.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let endings = EndReason::ALL.map(|reason| {
            let count = self.endings.with_label_values(&[reason.as_str()]).get();
            (reason.as_str().to_owned(), count)
        });
        let transactions = |result| self.transactions.with_label_values(&[result]).get();
        let lateness = self.lateness.metric();
        let buckets = lateness.get_histogram().get_bucket().iter();
        Totals {
            events: self.events.get(),
            started: self.started.get(),
            late: self.late.get(),
            misrouted: self.misrouted(),
            endings: endings.into(),
            dead_letters: sum(&self.dead_letters),
            commits: transactions("committed"),
            aborts: transactions("aborted"),
            rebalances: sum(&self.rebalances),
            lateness: buckets
                .map(|bucket| LatenessBucket {
                    le: bucket.upper_bound(),
                    count: bucket.cumulative_count(),
                })
                .collect(),
        }
    }

    /// Shows the reason for which no session may end although the clocks agree, if any.
    pub fn routing(&self, hold: Option<&RoutingHold>) {
        let reason = hold.map(RoutingHold::reason);
        for each in RoutingHold::REASONS {
            let gauge = self.routing_hold.with_label_values(&[each]);
            gauge.set(i64::from(reason == Some(each)));
        }
    }

    /// Shows what the topic of watermarks states.
    pub fn upstream(&self, upstream: &Upstream) {
        self.upstream.show(upstream);
    }

    /// Returns the events that producers had written to the wrong partition.
    fn misrouted(&self) -> u64 {
        let causes = ForwardCause::ALL.into_iter();
        let misrouted = causes.filter(|cause| cause.remedy().is_some());
        misrouted
            .map(|cause| self.forwarded.with_label_values(&[cause.as_str()]).get())
            .sum()
    }

    /// Counts a rejected record of the policy topic.
    pub fn policy_rejected(&self) {
        self.rejected_policies.inc();
    }

    fn transaction(&self, result: &'static str, took: Duration) {
        self.transactions.with_label_values(&[result]).inc();
        self.transaction_seconds.observe(took.as_secs_f64());
    }
}

/// Sums a counter over all its labels.
fn sum(counters: &IntCounterVec) -> u64 {
    let families = counters.collect();
    let metrics = families.iter().flat_map(MetricFamily::get_metric);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the library returns counts as floats"
    )]
    let counts = metrics.map(|metric| metric.get_counter().get_value() as u64);
    counts.sum()
}

fn seconds_of(span: Span) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    let millis = span.as_millis() as f64;
    millis / 1000.0
}
