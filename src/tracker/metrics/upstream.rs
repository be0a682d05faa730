//! What the topic of watermarks states.

use std::collections::BTreeMap;

use prometheus::{Error, GaugeVec, IntCounterVec};

use crate::metrics::factory::MetricFactory;
use crate::metrics::series::SeriesSet;
use crate::session::Timestamp;
use crate::wire::watermark::{Upstream, WatermarkError};

#[derive(Clone, Debug)]
pub(super) struct UpstreamMetrics {
    unusable: IntCounterVec,
    sources: GaugeVec,
    sources_shown: SeriesSet,
}

impl UpstreamMetrics {
    pub(super) fn new(register: &MetricFactory<'_>) -> Result<Self, Error> {
        let metrics = Self {
            unusable: register.counters(
                "sundown_tracker_unusable_watermarks_total",
                "Records read from the topic of watermarks that state none; see the log for their offsets.",
                "reason",
            )?,
            sources: register.float_gauges(
                "sundown_tracker_source_watermark_timestamp_seconds",
                "The least time up to which ingest has forwarded a partition of a source topic, 0 if nothing of one; no session ends by a later time.",
                &["topic"],
            )?,
            sources_shown: SeriesSet::default(),
        };
        for reason in WatermarkError::REASONS {
            metrics.unusable.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    pub(super) fn show(&self, upstream: &Upstream) {
        for (reason, total) in WatermarkError::REASONS.into_iter().zip(upstream.unusable) {
            let counter = self.unusable.with_label_values(&[reason]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.show_sources(&upstream.source_topics);
    }

    fn show_sources(&self, topics: &BTreeMap<String, Timestamp>) {
        for (topic, until) in topics {
            #[expect(clippy::cast_precision_loss, reason = "a metric")]
            let seconds = until.as_millis() as f64 / 1000.0;
            self.sources.with_label_values(&[topic]).set(seconds);
        }
        let shown = topics.keys().map(|topic| vec![topic.clone()]);
        self.sources_shown.replace(shown.collect(), |labels| {
            // The label was set before and is removed only here.
            let _removed = self.sources.remove_label_values(labels);
        });
    }
}
