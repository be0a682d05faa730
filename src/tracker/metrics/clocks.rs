//! Metrics of the two clocks.

use prometheus::{Error, GaugeVec, IntGauge, IntGaugeVec};

use crate::clock::clocks::ClockHold;
use crate::metrics::factory::MetricFactory;

#[derive(Clone, Debug)]
pub(super) struct ClockMetrics {
    agree: IntGauge,
    hold: IntGaugeVec,
    /// Without labels; a vector because the value is not always known.
    skew: GaugeVec,
}

impl ClockMetrics {
    pub(super) fn new(register: &MetricFactory<'_>) -> Result<Self, Error> {
        let metrics = Self {
            agree: register.gauge(
                "sundown_tracker_clocks_agree",
                "1 while sessions may end, 0 while this machine's clock or the brokers' cannot be trusted.",
            )?,
            hold: register.gauges(
                "sundown_tracker_clock_hold",
                "1 for the reason for which no session may end by the clocks, if any.",
                "reason",
            )?,
            skew: register.float_gauges(
                "sundown_tracker_clock_skew_seconds",
                "How far this machine's clock is ahead of the brokers'; absent until theirs is known.",
                &[],
            )?,
        };
        metrics.hold(Some(&ClockHold::Unknown));
        Ok(metrics)
    }

    pub(super) fn hold(&self, hold: Option<&ClockHold>) {
        self.agree.set(i64::from(hold.is_none()));
        let reason = hold.map(ClockHold::reason);
        for each in ClockHold::REASONS {
            let gauge = self.hold.with_label_values(&[each]);
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
