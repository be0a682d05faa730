//! The metrics of ingest.

use prometheus::{Error, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::batch::IngestCounts;
use crate::metrics::factory::MetricFactory;
use crate::processes::Assignment;
use crate::source::mapping::MappingError;
use crate::wire::event::DecodeError;
use crate::wire::time;

/// The metrics of an ingest process.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    records: IntCounterVec,
    dead_letters: IntCounterVec,
    unusable_attributes: IntCounter,
    transactions: IntCounterVec,
    restarts: IntCounter,
    partitions: IntGaugeVec,
    unread: IntGaugeVec,
    watermark: GaugeVec,
}

impl IngestMetrics {
    /// Registers the metrics in `registry`.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let register = MetricFactory(registry);
        let metrics = Self {
            records: register.counters("sundown_ingest_records_total", "Records of source topics, in committed transactions.", "result")?,
            dead_letters: register.counters("sundown_ingest_dead_letters_total", "Records of source topics sent to the dead-letter topic, in committed transactions.", "reason")?,
            unusable_attributes: register.counter("sundown_ingest_unusable_attributes_total", "Attributes left out because they are neither strings, numbers nor booleans.")?,
            transactions: register.counters("sundown_ingest_transactions_total", "Transactions by result; with at-least-once delivery, flushes.", "result")?,
            restarts: register.counter("sundown_ingest_restarts_total", "Workers of a topic that failed and started again from the committed offsets.")?,
            partitions: register.gauges("sundown_ingest_partitions", "Assigned partitions.", "topic")?,
            unread: register.gauges("sundown_ingest_unread_records", "Records of assigned partitions that have not been read.", "topic")?,
            watermark: register.float_gauges("sundown_ingest_watermark_timestamp_seconds", "The least time up to which an assigned partition has been forwarded.", &["topic"])?,
        };
        for (counters, values) in [
            (&metrics.records, &["event", "skipped", "dead_letter"][..]),
            (&metrics.transactions, &["committed", "aborted"]),
            (&metrics.dead_letters, &DecodeError::CODES),
            (&metrics.dead_letters, &[MappingError::MAPPING]),
        ] {
            for value in values {
                counters.with_label_values(&[value]);
            }
        }
        Ok(metrics)
    }

    /// Counts a committed batch.
    pub fn committed(&self, counts: &IngestCounts) {
        self.transactions.with_label_values(&["committed"]).inc();
        let dead_letters = counts.dead_letters.values().sum();
        for (result, count) in [
            ("event", counts.events),
            ("skipped", counts.skipped),
            ("dead_letter", dead_letters),
        ] {
            self.records.with_label_values(&[result]).inc_by(count);
        }
        for (reason, count) in &counts.dead_letters {
            self.dead_letters
                .with_label_values(&[reason])
                .inc_by(*count);
        }
        self.unusable_attributes.inc_by(counts.unusable_attributes);
    }

    /// Counts a transaction that was not committed.
    pub fn aborted(&self) {
        self.transactions.with_label_values(&["aborted"]).inc();
    }

    /// Counts a worker that starts again.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// Shows the number of assigned partitions of a topic.
    pub fn assigned(&self, topic: &str, partitions: usize) {
        let partitions = i64::try_from(partitions).unwrap_or(i64::MAX);
        self.partitions.with_label_values(&[topic]).set(partitions);
    }

    /// Shows the progress of a topic.
    pub fn show(&self, topic: &str, assignments: &[Assignment]) {
        let unread = assignments.iter().filter_map(|assignment| {
            let unread = assignment.end? - assignment.position?;
            Some(unread.max(0))
        });
        self.unread.with_label_values(&[topic]).set(unread.sum());
        let watermarks = assignments
            .iter()
            .map(|one| one.watermark.as_deref().and_then(time::parse));
        // `None` is the least.
        if let Some(Some(least)) = watermarks.min() {
            #[expect(clippy::cast_precision_loss, reason = "a metric")]
            let seconds = least.as_millis() as f64 / 1000.0;
            self.watermark.with_label_values(&[topic]).set(seconds);
        }
    }
}
