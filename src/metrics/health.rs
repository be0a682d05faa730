//! Readiness as a metric, read on each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, IntGaugeVec, Opts};

use crate::health::Health;

/// Exports a [`Health`] as `sundown_ready` and `sundown_not_ready`.
pub(super) struct HealthMetrics {
    role: String,
    health: Health,
    /// Descriptors only. Each scrape collects new vectors, so that concurrent scrapes do not see
    /// each other's partial results.
    descriptors: [IntGaugeVec; 2],
}

impl HealthMetrics {
    pub(super) fn new(role: &str, health: Health) -> Result<Self, Error> {
        Ok(Self {
            role: role.to_owned(),
            health,
            descriptors: [ready()?, not_ready()?],
        })
    }

    fn read(&self) -> Result<Vec<MetricFamily>, Error> {
        let unmet = self.health.not_ready();
        let (ready, not_ready) = (ready()?, not_ready()?);
        let role = self.role.as_str();
        ready
            .with_label_values(&[role])
            .set(i64::from(unmet.is_empty()));
        for condition in unmet.keys() {
            not_ready
                .with_label_values(&[role, condition.as_ref()])
                .set(1);
        }
        let mut families = ready.collect();
        families.extend(not_ready.collect());
        Ok(families)
    }
}

impl Collector for HealthMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // `new` has accepted the same names and labels.
        self.read().unwrap_or_default()
    }
}

fn ready() -> Result<IntGaugeVec, Error> {
    let opts = Opts::new(
        "sundown_ready",
        "1 while the process is ready, as in /readyz.",
    );
    IntGaugeVec::new(opts, &["role"])
}

fn not_ready() -> Result<IntGaugeVec, Error> {
    let opts = Opts::new(
        "sundown_not_ready",
        "1 for each unmet readiness condition; /readyz has the reason.",
    );
    IntGaugeVec::new(opts, &["role", "condition"])
}
