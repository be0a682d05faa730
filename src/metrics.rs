//! Metrics: one struct per role, registered in a registry of the role's own.
//!
//! Names start with `sundown_`; labels come from closed sets.

pub mod controller;
pub mod handler;
pub mod tracker;

use prometheus::{IntGaugeVec, Opts, Registry};

/// A registry that already says which build and which role this is:
/// `sundown_build_info{version, role} 1`.
///
/// # Errors
/// Never, on a registry just made; the type is the library's.
pub fn registry(role: &str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let about = Opts::new(
        "sundown_build_info",
        "Which build and role this is; always 1.",
    );
    let info = IntGaugeVec::new(about, &["version", "role"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), role])
        .set(1);
    registry.register(Box::new(info))?;
    Ok(registry)
}
