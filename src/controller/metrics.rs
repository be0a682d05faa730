//! What the controller counts and measures.

use prometheus::{
    GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    register_gauge_vec_with_registry as float_gauges,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges, register_int_gauge_with_registry as gauge,
};

use crate::metrics::series::SeriesSet;

/// The controller's metrics. Clones share them. All but the counters are the leader's to
/// show: another controller shows none, so that sums over replicas are right.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    leads: IntGauge,
    reconciles: IntCounterVec,
    records: IntCounterVec,
    statuses: IntCounterVec,
    policies: PolicyMetrics,
    lags: LagMetrics,
}

#[derive(Clone, Debug)]
struct PolicyMetrics {
    generations: IntGaugeVec,
    sessions: IntGaugeVec,
    trackers: IntGaugeVec,
    ready: IntGaugeVec,
    shown: SeriesSet,
}

#[derive(Clone, Debug)]
struct LagMetrics {
    records: IntGaugeVec,
    seconds: GaugeVec,
    shown: SeriesSet,
}

/// What is shown of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGauges<'a> {
    /// `namespace/name`.
    pub name: &'a str,
    /// The generation that the API server has.
    pub generation: i64,
    /// Live sessions under it.
    pub sessions: usize,
    /// Live trackers that run that generation.
    pub trackers: usize,
    /// Whether it is valid and published.
    pub ready: bool,
}

/// How far a group is behind on a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionLag<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Records between what it has committed and the last stable offset.
    pub records: i64,
    /// The age of the oldest of them, in seconds; none where it is not known.
    pub seconds: Option<f64>,
}

impl ControllerMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry has metrics by these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            leads: gauge!(
                "sundown_controller_leader",
                "1 while this controller leads: it alone writes.",
                registry
            )?,
            reconciles: counters!(
                "sundown_controller_reconciles_total",
                "Times that all policies were gone through, by how it went.",
                &["result"],
                registry
            )?,
            records: counters!(
                "sundown_controller_records_total",
                "Records written to the policy topic, by kind.",
                &["kind"],
                registry
            )?,
            statuses: counters!(
                "sundown_controller_status_updates_total",
                "Writes of a policy's status, by how they went.",
                &["result"],
                registry
            )?,
            policies: PolicyMetrics::new(registry)?,
            lags: LagMetrics::new(registry)?,
        };
        for (counters, values) in [
            (&metrics.reconciles, ["ok", "error"]),
            (&metrics.records, ["policy", "tombstone"]),
            (&metrics.statuses, ["ok", "error"]),
        ] {
            for value in values {
                counters.with_label_values(&[value]);
            }
        }
        Ok(metrics)
    }

    /// Whether this controller leads.
    pub fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if !leads {
            self.policies(&[]);
            self.lag(&[]);
        }
    }

    /// All policies have been gone through.
    pub fn reconciled(&self, ok: bool) {
        self.reconciles.with_label_values(&[result(ok)]).inc();
    }

    /// A record has been written.
    pub fn record(&self, tombstone: bool) {
        let kind = if tombstone { "tombstone" } else { "policy" };
        self.records.with_label_values(&[kind]).inc();
    }

    /// A status has been written, or could not be.
    pub fn status(&self, ok: bool) {
        self.statuses.with_label_values(&[result(ok)]).inc();
    }

    /// The policies that there are; all others are not shown any more.
    pub fn policies(&self, policies: &[PolicyGauges<'_>]) {
        self.policies.show(policies);
    }

    /// How far the groups are behind; what is not told is not shown any more.
    pub fn lag(&self, partitions: &[PartitionLag<'_>]) {
        self.lags.show(partitions);
    }
}

impl PolicyMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            generations: gauges!(
                "sundown_policy_generation",
                "The generation of the policy that the API server has.",
                &["policy"],
                registry
            )?,
            sessions: gauges!(
                "sundown_policy_sessions",
                "Live sessions under the policy, as the trackers report.",
                &["policy"],
                registry
            )?,
            trackers: gauges!(
                "sundown_policy_trackers",
                "Live trackers that run the policy's present generation.",
                &["policy"],
                registry
            )?,
            ready: gauges!(
                "sundown_policy_ready",
                "1 if the policy is valid and published, 0 if not.",
                &["policy"],
                registry
            )?,
            shown: SeriesSet::default(),
        })
    }

    fn show(&self, policies: &[PolicyGauges<'_>]) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for policy in policies {
            let label = &[policy.name];
            self.generations
                .with_label_values(label)
                .set(policy.generation);
            self.sessions
                .with_label_values(label)
                .set(count(policy.sessions));
            self.trackers
                .with_label_values(label)
                .set(count(policy.trackers));
            self.ready
                .with_label_values(label)
                .set(i64::from(policy.ready));
        }
        let now = policies.iter().map(|policy| vec![policy.name.to_owned()]);
        self.shown.replace(now.collect(), |labels| {
            for gauges in [
                &self.generations,
                &self.sessions,
                &self.trackers,
                &self.ready,
            ] {
                // It was set before, and nobody else removes it.
                let _removed = gauges.remove_label_values(labels);
            }
        });
    }
}

impl LagMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labels = ["consumergroup", "topic", "partition"];
        Ok(Self {
            records: gauges!(
                "kafka_consumergroup_lag",
                "Records that the group has yet to read: from its committed offset to the last stable one, 0 where only transaction markers are left.",
                &labels,
                registry
            )?,
            seconds: float_gauges!(
                "kafka_consumergroup_lag_seconds",
                "The age of the oldest record that the group has yet to read, 0 where there is none.",
                &labels,
                registry
            )?,
            shown: SeriesSet::default(),
        })
    }

    fn show(&self, partitions: &[PartitionLag<'_>]) {
        let labels = |lag: &PartitionLag<'_>| {
            let partition = lag.partition.to_string();
            vec![lag.group.to_owned(), lag.topic.to_owned(), partition]
        };
        for lag in partitions {
            let labels = labels(lag);
            self.records.with_label_values(&labels).set(lag.records);
            if let Some(seconds) = lag.seconds {
                self.seconds.with_label_values(&labels).set(seconds);
            }
        }
        self.shown
            .replace(partitions.iter().map(labels).collect(), |labels| {
                let _removed = self.records.remove_label_values(labels);
                // Of some partitions only the number of records was ever known.
                let _removed = self.seconds.remove_label_values(labels);
            });
    }
}

fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}
