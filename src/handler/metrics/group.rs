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
                &["occasion"],
                registry
            )?,
            held: gauges!(
                "sundown_handler_operator_paused_partitions",
                "Partitions that are not read because somebody has paused them.",
                &["occasion"],
                registry
            )?,
            rebalances: counters!(
                "sundown_handler_rebalances_total",
                "Rebalances that gave, took or lost partitions.",
                &["occasion", "kind"],
                registry
            )?,
        })
    }

    /// Has every series of an occasion shown.
    pub(super) fn fill(&self, occasion: &str) {
        self.partitions.with_label_values(&[occasion]);
        self.held.with_label_values(&[occasion]);
        for kind in REBALANCES {
            self.rebalances.with_label_values(&[occasion, kind]);
        }
    }

    pub(super) fn rebalanced(&self, occasion: &str, kind: &str, partitions: usize) {
        self.rebalances.with_label_values(&[occasion, kind]).inc();
        let gauge = self.partitions.with_label_values(&[occasion]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    pub(super) fn held(&self, occasion: &str, partitions: usize) {
        let gauge = self.held.with_label_values(&[occasion]);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }
}
