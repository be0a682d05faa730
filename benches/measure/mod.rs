//! Helpers of the benchmarks. Brokers, installations and processes come from `tests/support`.

pub mod bare;
pub mod drained;
pub mod endings;
pub mod flags;

pub mod livez;
pub mod load;
pub mod logouts;
pub mod mass;
pub mod plot;
pub mod sink;
pub mod tracker_group;
pub mod usage;

use std::time::Duration;

use crate::support::installation::Installation;
use crate::support::process::Process;

/// Time limit of a step that handles all records of a benchmark.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Starts a tracker with the default settings.
pub fn start_tracker(installation: &Installation<'_>, args: &[&str]) -> Process {
    let launch = installation.sundown(&["tracker"]).args(args);
    launch.print_warnings().start()
}

/// Waits until a tracker has restored so many partitions.
pub fn await_restored(tracker: &Process, partitions: u64) {
    tracker.wait_for_lines(STEP_TIMEOUT, partitions, "\"restored\"");
}

/// Stops a tracker; it may have much to commit.
pub fn stop(tracker: Process) {
    tracker.stop(Duration::from_secs(120));
}
