//! Metrics of the controller.

use prometheus::{
    GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    register_gauge_vec_with_registry as float_gauges,
    register_int_counter_vec_with_registry as counters,
    register_int_gauge_vec_with_registry as gauges, register_int_gauge_with_registry as gauge,
};

use crate::metrics::series::SeriesSet;
use crate::source;

/// The controller's metrics; clones share them. Only the leader exports series of policies and
/// lag, so that sums over replicas are correct.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    leads: IntGauge,
    reconciles: IntCounterVec,
    records: IntCounterVec,
    statuses: IntCounterVec,
    policies: PolicyMetrics,
    sources: SourceMetrics,
    lags: LagMetrics,
}

#[derive(Clone, Debug)]
struct SourceMetrics {
    processes: IntGaugeVec,
    ready: IntGaugeVec,
    series: SeriesSet,
}

#[derive(Clone, Debug)]
struct PolicyMetrics {
    generations: IntGaugeVec,
    sessions: IntGaugeVec,
    trackers: IntGaugeVec,
    ready: IntGaugeVec,
    series: SeriesSet,
}

#[derive(Clone, Debug)]
struct LagMetrics {
    records: IntGaugeVec,
    seconds: GaugeVec,
    series: SeriesSet,
}

/// Values of a policy's gauges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyGauges<'a> {
    /// `namespace/name`.
    pub name: &'a str,
    /// The generation in the API server.
    pub generation: i64,
    /// Live sessions under the policy.
    pub sessions: usize,
    /// Live trackers that run this generation.
    pub trackers: usize,
    /// Whether the policy is valid and published.
    pub ready: bool,
}

/// Values of a source's gauges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceGauges<'a> {
    /// `namespace/name`.
    pub name: &'a str,
    /// Whether the source is valid and published.
    pub ready: bool,
    /// Live ingest processes that run the current generation.
    pub processes: usize,
}

/// The lag of a consumer group on a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionLag<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    /// Committed records from the group's committed offset to the last stable offset.
    pub records: i64,
    /// The age of the oldest of them; `None` if unknown.
    pub seconds: Option<f64>,
}

impl ControllerMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If the registry already has a metric of one of these names.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            leads: gauge!(
                "sundown_controller_leader",
                "1 while this controller is the leader, which alone writes; 0 otherwise.",
                registry
            )?,
            reconciles: counters!(
                "sundown_controller_reconciles_total",
                "Reconciliation passes, by result.",
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
                "Status updates of policies and sources, by result.",
                &["result"],
                registry
            )?,
            policies: PolicyMetrics::new(registry)?,
            sources: SourceMetrics::new(registry)?,
            lags: LagMetrics::new(registry)?,
        };
        for (counters, values) in [
            (&metrics.reconciles, &["ok", "error"][..]),
            (&metrics.records, &["policy", "source", "tombstone"]),
            (&metrics.statuses, &["ok", "error"]),
        ] {
            for value in values {
                counters.with_label_values(&[value]);
            }
        }
        Ok(metrics)
    }

    /// Sets whether this controller is the leader.
    pub fn set_leader(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if !leads {
            self.set_policies(&[]);
            self.set_sources(&[]);
            self.set_lag(&[]);
        }
    }

    /// Counts a reconciliation pass.
    pub fn reconciled(&self, ok: bool) {
        self.reconciles.with_label_values(&[result(ok)]).inc();
    }

    /// Counts a written record of a kind of resource.
    pub fn record_written(&self, kind: &str, tombstone: bool) {
        let kind = match (tombstone, kind) {
            (true, _) => "tombstone",
            (false, source::document::KIND) => "source",
            (false, _) => "policy",
        };
        self.records.with_label_values(&[kind]).inc();
    }

    /// Counts a status update.
    pub fn status_written(&self, ok: bool) {
        self.statuses.with_label_values(&[result(ok)]).inc();
    }

    /// Sets the gauges of these policies and removes those of all others.
    pub fn set_policies(&self, policies: &[PolicyGauges<'_>]) {
        self.policies.show(policies);
    }

    /// Sets the gauges of these sources and removes those of all others.
    pub fn set_sources(&self, sources: &[SourceGauges<'_>]) {
        self.sources.show(sources);
    }

    /// Sets the gauges of these partitions and removes those of all others.
    pub fn set_lag(&self, partitions: &[PartitionLag<'_>]) {
        self.lags.show(partitions);
    }
}

impl PolicyMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            generations: gauges!(
                "sundown_policy_generation",
                "Generation of the policy in the API server.",
                &["policy"],
                registry
            )?,
            sessions: gauges!(
                "sundown_policy_sessions",
                "Live sessions under the policy, as reported by the trackers.",
                &["policy"],
                registry
            )?,
            trackers: gauges!(
                "sundown_policy_trackers",
                "Live trackers that run the current generation of the policy.",
                &["policy"],
                registry
            )?,
            ready: gauges!(
                "sundown_policy_ready",
                "1 if the policy is valid and published, 0 otherwise.",
                &["policy"],
                registry
            )?,
            series: SeriesSet::default(),
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
        self.series.replace(now.collect(), |labels| {
            for gauges in [
                &self.generations,
                &self.sessions,
                &self.trackers,
                &self.ready,
            ] {
                // The series was set before, and only this removes series.
                let _removed = gauges.remove_label_values(labels);
            }
        });
    }
}

impl SourceMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            processes: gauges!(
                "sundown_source_processes",
                "Live ingest processes that run the current generation of the source.",
                &["source"],
                registry
            )?,
            ready: gauges!(
                "sundown_source_ready",
                "1 if the source is valid and published, 0 otherwise.",
                &["source"],
                registry
            )?,
            series: SeriesSet::default(),
        })
    }

    fn show(&self, sources: &[SourceGauges<'_>]) {
        for source in sources {
            let label = &[source.name];
            let processes = i64::try_from(source.processes).unwrap_or(i64::MAX);
            self.processes.with_label_values(label).set(processes);
            self.ready
                .with_label_values(label)
                .set(i64::from(source.ready));
        }
        let now = sources.iter().map(|source| vec![source.name.to_owned()]);
        self.series.replace(now.collect(), |labels| {
            for gauges in [&self.processes, &self.ready] {
                // The series was set before, and only this removes series.
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
                "Records from the committed offset of the group to the last stable offset; 0 if only transaction markers remain.",
                &labels,
                registry
            )?,
            seconds: float_gauges!(
                "kafka_consumergroup_lag_seconds",
                "Age of the oldest record that the group has not read, in seconds; 0 if there is none.",
                &labels,
                registry
            )?,
            series: SeriesSet::default(),
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
        self.series
            .replace(partitions.iter().map(labels).collect(), |labels| {
                let _removed = self.records.remove_label_values(labels);
                // Partitions of unknown age have no such series.
                let _removed = self.seconds.remove_label_values(labels);
            });
    }
}

fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}
