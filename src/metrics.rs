//! Metrics shared by the roles, and helpers to register a role's own.
//!
//! Each role has a struct of metrics and a registry. Names start with `sundown_`; label values
//! come from closed sets.

pub mod certificates;
pub mod factory;
mod health;
pub mod series;

use prometheus::{IntGaugeVec, Opts, Registry};

use crate::clock::Clock;
use crate::health::Health;

/// Creates a registry with the metrics of every role: build, start time, readiness and, on
/// Linux, the resources of the process.
///
/// # Errors
/// None on a new registry; the library requires the type.
pub fn registry(role: &str, health: &Health) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let opts = Opts::new(
        "sundown_build_info",
        "Version and role of the process; always 1.",
    );
    let info = IntGaugeVec::new(opts, &["version", "role"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), role])
        .set(1);
    registry.register(Box::new(info))?;
    let opts = Opts::new(
        "sundown_start_timestamp_seconds",
        "Time from which counters count, in seconds since 1970.",
    );
    let start = IntGaugeVec::new(opts, &["role"])?;
    start
        .with_label_values(&[role])
        .set(Clock::default().wall().as_millis() / 1_000);
    registry.register(Box::new(start))?;
    let health = health::HealthMetrics::new(role, health.clone())?;
    registry.register(Box::new(health))?;
    // The collector reads /proc.
    #[cfg(target_os = "linux")]
    {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
    }
    Ok(registry)
}
