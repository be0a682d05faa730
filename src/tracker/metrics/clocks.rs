//! What is shown of the two clocks.

use prometheus::{Error, GaugeVec, IntGauge, IntGaugeVec};

use crate::metrics::factory::MetricFactory;
use crate::tracker::clocks::ClockHold;

#[derive(Clone, Debug)]
pub(super) struct ClockMetrics {
    agree: IntGauge,
    trouble: IntGaugeVec,
    /// Without labels; a vector, for it is not always known.
    skew: GaugeVec,
}

impl ClockMetrics {
    pub(super) fn new(register: &MetricFactory<'_>) -> Result<Self, Error> {
        let metrics = Self {
            agree: register.gauge(
                "sundown_tracker_clocks_agree",
                "1 while sessions may end, 0 while this machine's clock and the brokers' cannot be trusted.",
            )?,
            trouble: register.gauges(
                "sundown_tracker_clock_trouble",
                "1 for the reason why no session may end by the clocks, if there is one.",
                "reason",
            )?,
            skew: register.float_gauges(
                "sundown_tracker_clock_skew_seconds",
                "How far this machine's clock is ahead of the brokers'; not shown as long as theirs is not known.",
                &[],
            )?,
        };
        metrics.trouble(Some(&ClockHold::Unknown));
        Ok(metrics)
    }

    pub(super) fn trouble(&self, trouble: Option<&ClockHold>) {
        self.agree.set(i64::from(trouble.is_none()));
        let reason = trouble.map(ClockHold::reason);
        for each in ClockHold::REASONS {
            let gauge = self.trouble.with_label_values(&[each]);
            gauge.set(i64::from(reason == Some(each)));
        }
    }

    pub(super) fn skew(&self, seconds: Option<f64>) {
        match seconds {
            Some(seconds) => self.skew.with_label_values::<&str>(&[]).set(seconds),
            None => self.skew.reset(),
        }
    }
}
