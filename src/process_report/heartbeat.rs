//! Process reports of roles that have no loop of their own to write them.

use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{INTERVAL, ProcessReport, ProcessState, Reporter, host};
use crate::admin::Health;
use crate::clock::Clock;
use crate::telemetry;
use crate::wire::time;

/// How long the last report may hold up the end of the process.
const LAST_REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Who reports.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// `handler`, `controller` or `console`.
    pub role: &'static str,
    /// Where its admin port is.
    pub admin: Option<String>,
    /// How it is doing.
    pub health: Health,
}

/// Reports to `topic` every few seconds until `stop`, then a last time.
///
/// # Errors
/// If the producer cannot be made.
pub fn start(
    reporting: Reporting,
    config: ClientConfig,
    topic: &str,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let clock = Clock::default();
    let reporter = Reporter::new(config, topic, clock)?;
    let unique = Uuid::new_v4().simple().to_string();
    let id = format!("{}-{}-{}", reporting.role, host(), &unique[..8]);
    let started_at = time::format(clock.wall());
    let report = move |state| ProcessReport {
        v: 1,
        id: id.clone(),
        role: reporting.role.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        pid: std::process::id(),
        started_at: started_at.clone(),
        reported_at: time::format(clock.wall()),
        state,
        not_ready: reporting
            .health
            .not_ready()
            .into_iter()
            .map(|(name, reason)| (name.into_owned(), reason))
            .collect(),
        assignments: Vec::new(),
        policies: Vec::new(),
        admin: reporting.admin.clone(),
        totals: None,
        errors: telemetry::recent_errors(),
    };
    tokio::spawn(async move {
        loop {
            reporter.write(&report(ProcessState::Running));
            // Samples of the brokers' clock are for trackers.
            while reporter.sample().is_some() {}
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => break,
            }
        }
        reporter.write(&report(ProcessState::Stopped));
        let flushed = tokio::task::spawn_blocking(move || reporter.flush(LAST_REPORT_PATIENCE));
        // Nobody is left to tell.
        let _ = flushed.await;
    });
    Ok(())
}
