//! What the consumer groups do with the handler's partitions.

use prometheus::{
    Error, IntCounterVec, IntGaugeVec, Registry,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges,
};

const REBALANCES: [&str; 3] = ["assigned", "revoked", "lost"];

#[derive(Clone, Debug)]
pub(super) struct GroupMetrics {
    partitions: IntGaugeVec,
    held: IntGaugeVec,
    rebalances: IntCounterVec,
}

impl GroupMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            partitions: gauges!(
                "sundown_handler_partitions",
                "Partitions assigned.",
                &["trigger"],
                registry
            )?,
            held: gauges!(
                "sundown_handler_operator_paused_partitions",
                "Partitions that are not read because somebody has paused them.",
                &["trigger"],
                registry
            )?,
            rebalances: counters!(
                "sundown_handler_rebalances_total",
                "Rebalances that gave, took or lost partitions.",
                &["trigger", "kind"],
                registry
            )?,
        })
    }

    /// Has every series of an trigger shown.
    pub(super) fn fill(&self, trigger: &str) {
        self.partitions.with_label_values(&[trigger]);
        self.held.with_label_values(&[trigger]);
        for kind in REBALANCES {
            self.rebalances.with_label_values(&[trigger, kind]);
        }
    }

    pub(super) fn rebalanced(&self, trigger: &str, kind: &str, partitions: usize) {
        self.rebalances.with_label_values(&[trigger, kind]).inc();
        let gauge = self.partitions.with_label_values(&[trigger]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    pub(super) fn held(&self, trigger: &str, partitions: usize) {
        let gauge = self.held.with_label_values(&[trigger]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }
}
