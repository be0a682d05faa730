//! Metrics of the assigned partitions.

use prometheus::{Error, GaugeVec, IntGauge, IntGaugeVec};

use crate::metrics::factory::MetricFactory;
use crate::metrics::series::SeriesSet;
use crate::session::Timestamp;

/// A partition that the group has assigned to the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedPartition {
    pub number: i32,
    /// None until it has been restored.
    pub live: Option<LivePartition>,
}

/// A partition that has been restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePartition {
    /// Live sessions.
    pub sessions: usize,
    /// Offsets between the position and the latest end offset.
    pub unread: i64,
    /// The time up to which everything appended has been read; [`Timestamp::MIN`] if it has
    /// never moved.
    pub watermark: Timestamp,
    /// Whether an operator has paused it.
    pub paused: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PartitionMetrics {
    of_topic: IntGauge,
    by_state: IntGaugeVec,
    sessions: IntGaugeVec,
    unread: IntGaugeVec,
    watermarks: GaugeVec,
    shown: SeriesSet,
}

impl PartitionMetrics {
    pub(super) fn new(register: &MetricFactory<'_>) -> Result<Self, Error> {
        Ok(Self {
            of_topic: register.gauge(
                "sundown_tracker_topic_partitions",
                "Partitions of the session event topic, assigned or not.",
            )?,
            by_state: register.gauges(
                "sundown_tracker_partitions",
                "Assigned partitions by state.",
                "state",
            )?,
            sessions: register.gauges("sundown_tracker_sessions", "Live sessions.", "partition")?,
            unread: register.gauges(
                "sundown_tracker_unread_records",
                "Unread records of the session event topic, by its latest end offset.",
                "partition",
            )?,
            watermarks: register.float_gauges(
                "sundown_tracker_watermark_timestamp_seconds",
                "Time up to which everything appended has been read, in seconds since 1970.",
                &["partition"],
            )?,
            shown: SeriesSet::default(),
        })
    }

    pub(super) fn of_topic(&self, partitions: i32) {
        self.of_topic.set(i64::from(partitions));
    }

    pub(super) fn show(&self, partitions: impl Iterator<Item = AssignedPartition>) {
        let (mut live, mut restoring, mut paused) = (0, 0, 0);
        let mut now = std::collections::BTreeSet::new();
        for AssignedPartition {
            number,
            live: state,
        } in partitions
        {
            let Some(state) = state else {
                restoring += 1;
                continue;
            };
            *(if state.paused { &mut paused } else { &mut live }) += 1;
            let label = number.to_string();
            self.set(&label, state);
            now.insert(vec![label]);
        }
        self.shown.replace(now, |labels| self.remove(labels));
        for (state, count) in [("live", live), ("restoring", restoring), ("paused", paused)] {
            self.by_state.with_label_values(&[state]).set(count);
        }
    }

    fn set(&self, label: &str, state: LivePartition) {
        let sessions = i64::try_from(state.sessions).unwrap_or(i64::MAX);
        self.sessions.with_label_values(&[label]).set(sessions);
        self.unread.with_label_values(&[label]).set(state.unread);
        if state.watermark > Timestamp::MIN {
            #[expect(clippy::cast_precision_loss, reason = "a metric")]
            let seconds = state.watermark.as_millis() as f64 / 1_000.0;
            self.watermarks.with_label_values(&[label]).set(seconds);
        }
    }

    fn remove(&self, labels: &[&str]) {
        // The labels were set before and are removed only here. A watermark that was never known
        // has none.
        let _removed = self.sessions.remove_label_values(labels);
        let _removed = self.unread.remove_label_values(labels);
        let _removed = self.watermarks.remove_label_values(labels);
    }
}
