//! Metrics: one struct per role, registered in a registry of the role's own.
//!
//! Names start with `sundown_`; labels come from closed sets.

pub mod certificates;
mod health;
pub mod register;
pub mod shown;

use prometheus::{IntGaugeVec, Opts, Registry};

use crate::clock::Clock;
use crate::health::Health;

/// A registry with what every role shows: which build and which role this is, whether it is
/// ready, and what the process takes.
///
/// # Errors
/// Never, on a registry just made; the type is the library's.
pub fn registry(role: &str, health: &Health) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let about = Opts::new(
        "sundown_build_info",
        "Which build and role this is; always 1.",
    );
    let info = IntGaugeVec::new(about, &["version", "role"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), role])
        .set(1);
    registry.register(Box::new(info))?;
    let about = Opts::new(
        "sundown_start_timestamp_seconds",
        "When this began to count, in seconds since 1970.",
    );
    let start = IntGaugeVec::new(about, &["role"])?;
    start
        .with_label_values(&[role])
        .set(Clock::default().wall().as_millis() / 1_000);
    registry.register(Box::new(start))?;
    let health = health::HealthMetrics::new(role, health.clone())?;
    registry.register(Box::new(health))?;
    // Elsewhere there is no /proc to read it from.
    #[cfg(target_os = "linux")]
    {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
    }
    Ok(registry)
}
