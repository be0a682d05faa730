//! Cost of many live sessions: memory, restart, and a policy edit or a revocation that ends all of them.
//!
//!     cargo bench --bench scale                                   1 M sessions
//!     cargo bench --bench scale -- --sessions 10000000
//!     cargo bench --bench scale -- --sessions 1000000 --partitions 256
//!     cargo bench --bench scale -- --revoke               a revocation instead of a policy edit
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. 10 M
//! sessions need about 6 GB of disk for the broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::time::{Duration, Instant};

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::flags::flag;
use measure::livez::Livez;
use measure::mass::{Trigger, row};
use measure::usage::{cpu_seconds, memory_mib};
use measure::{STEP_TIMEOUT, await_restored, start_tracker, stop};
use support::installation::Installation;
use support::kafka::Kafka;
use support::process::Process;

/// How long a tracker is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let (sessions, partitions) = (flag("--sessions", 1_000_000), flag("--partitions", 3));
    let installation = Installation::without_topics(Kafka::shared(), "scale", partitions);
    println!("{sessions} sessions, {partitions} partitions\n");
    println!("| measurement | figure |");
    println!("|---|---|");
    let tracker = fill(&installation, sessions, partitions);
    idle(&tracker);
    let tracker = restart(&installation, tracker, partitions);
    let trigger = if std::env::args().any(|argument| argument == "--revoke") {
        Trigger::Revocation
    } else {
        Trigger::PolicyEdit
    };
    let livez = Livez::start(&tracker);
    measure::mass::end_all(&installation, sessions, partitions, trigger);
    row(
        "meanwhile, /livez: longest",
        &format!("{} ms", livez.finish().as_millis()),
    );
    let id = tracker.id();
    row(
        "peak memory",
        &format!("{:.0} MiB", memory_mib(id, "VmHWM")),
    );
    stop(tracker);
}

/// Starts the sessions; a tracker that has them all and has committed that.
fn fill(installation: &Installation<'_>, sessions: u64, partitions: u64) -> Process {
    installation.create_topics();
    installation.apply_policy("12h");
    let tracker = start_tracker(installation, &[]);
    await_restored(&tracker, partitions);
    let before = memory_mib(tracker.id(), "VmRSS");
    measure::mass::start_all(installation, sessions, partitions);
    let grown = memory_mib(tracker.id(), "VmRSS") - before;
    let bytes = grown * 1024.0 * 1024.0 / sessions as f64;
    row(
        "resident memory a session",
        &format!("{bytes:.0} B ({grown:.0} MiB)"),
    );
    tracker
}

/// Live sessions that nothing happens to must cost nothing.
fn idle(tracker: &Process) {
    let id = tracker.id();
    let before = cpu_seconds(id);
    std::thread::sleep(IDLE);
    let share = (cpu_seconds(id) - before) / IDLE.as_secs_f64() * 100.0;
    row(
        "CPU of a core with all sessions idle",
        &format!("{share:.1} %"),
    );
}

/// Stops the tracker and starts another, which has to restore every session.
fn restart(installation: &Installation<'_>, tracker: Process, partitions: u64) -> Process {
    stop(tracker);
    let begun = Instant::now();
    let tracker = start_tracker(installation, &[]);
    tracker.wait_for_lines(STEP_TIMEOUT, 1, "\"assigned\"");
    let assigned = Instant::now();
    await_restored(&tracker, partitions);
    let restored = assigned.elapsed().as_secs_f64();
    row(
        "restore, from the assignment until all is live",
        &format!("{restored:.2} s"),
    );
    let cpu = cpu_seconds(tracker.id());
    row("CPU that the restore took", &format!("{cpu:.2} s"));
    let restart = begun.elapsed().as_secs_f64();
    row(
        "restart, from the start of the process",
        &format!("{restart:.2} s"),
    );
    tracker
}
