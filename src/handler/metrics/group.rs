//! Metrics of the handler's consumer groups.

use prometheus::{
    Error, IntCounterVec, IntGaugeVec, Registry,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges,
};

const REBALANCES: [&str; 3] = ["assigned", "revoked", "lost"];

#[derive(Clone, Debug)]
pub(super) struct GroupMetrics {
    partitions: IntGaugeVec,
    operator_paused: IntGaugeVec,
    rebalances: IntCounterVec,
}

impl GroupMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            partitions: gauges!(
                "sundown_handler_partitions",
                "Assigned partitions.",
                &["action", "trigger"],
                registry
            )?,
            operator_paused: gauges!(
                "sundown_handler_operator_paused_partitions",
                "Partitions paused by an operator.",
                &["action", "trigger"],
                registry
            )?,
            rebalances: counters!(
                "sundown_handler_rebalances_total",
                "Rebalances that assigned, revoked or lost partitions.",
                &["action", "trigger", "kind"],
                registry
            )?,
        })
    }

    pub(super) fn create_series(&self, labels: [&str; 2]) {
        self.partitions.with_label_values(&labels);
        self.operator_paused.with_label_values(&labels);
        for kind in REBALANCES {
            let [action, trigger] = labels;
            self.rebalances.with_label_values(&[action, trigger, kind]);
        }
    }

    pub(super) fn count_rebalance(&self, labels: [&str; 2], kind: &str, partitions: usize) {
        let [action, trigger] = labels;
        self.rebalances
            .with_label_values(&[action, trigger, kind])
            .inc();
        let gauge = self.partitions.with_label_values(&labels);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }

    pub(super) fn set_operator_paused(&self, labels: [&str; 2], partitions: usize) {
        let gauge = self.operator_paused.with_label_values(&labels);
        gauge.set(i64::try_from(partitions).unwrap_or(i64::MAX));
    }
}
