//! What a process says of its own health, read when somebody asks.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, IntGaugeVec, Opts};

use crate::health::Health;

/// Shows a [`Health`] as `sundown_ready` and `sundown_not_ready`.
pub(super) struct HealthMetrics {
    role: String,
    health: Health,
    /// They describe; what is collected is made anew each time, so that two scrapes at
    /// once do not see each other's halves.
    vectors: [IntGaugeVec; 2],
}

impl HealthMetrics {
    pub(super) fn new(role: &str, health: Health) -> Result<Self, Error> {
        Ok(Self {
            role: role.to_owned(),
            health,
            vectors: [ready()?, not_ready()?],
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
        self.vectors.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The same names and labels were accepted when this was made.
        self.read().unwrap_or_default()
    }
}

fn ready() -> Result<IntGaugeVec, Error> {
    let about = Opts::new(
        "sundown_ready",
        "1 while the process is ready, as /readyz says.",
    );
    IntGaugeVec::new(about, &["role"])
}

fn not_ready() -> Result<IntGaugeVec, Error> {
    let about = Opts::new(
        "sundown_not_ready",
        "1 for each condition that keeps the process from being ready; /readyz gives the reason.",
    );
    IntGaugeVec::new(about, &["role", "condition"])
}
