//! CPU cost of an event in the tracker, beside idle sessions and by number of events.
//!
//!     cargo bench --bench cost                                up to 4 M idle sessions
//!     cargo bench --bench cost -- --svg docs/images/costs.svg        draws them, too
//!
//! CPU time of the whole process from before the events are written until everything is
//! committed and three seconds have passed. No session is stored again for its activity
//! (`--slack` is 1 h): how often depends on how long the run takes. Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP.
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

use std::time::Duration;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::drained::Watch;
use measure::flags::flag;
use measure::plot::{Panel, Scale};
use measure::usage::cpu_seconds;
use measure::{STEP_TIMEOUT, await_restored, start_tracker, stop};
use support::installation::Installation;
use support::kafka::Kafka;
use support::process::Process;

const PARTITIONS: u64 = 3;
/// Idle sessions beside those that are active.
const IDLE: [u64; 4] = [10_000, 100_000, 1_000_000, 4_000_000];
/// Sessions that are active.
const ACTIVE: u64 = 100_000;
/// Events, written again and again while ever more sessions are idle.
const EVENTS: u64 = 1_000_000;
/// Numbers of events, written while all are idle.
const MORE_EVENTS: [u64; 5] = [0, 500_000, 1_000_000, 2_000_000, 4_000_000];
/// By then what has been active is stored.
const STORE_DELAY: Duration = Duration::from_secs(3);

/// The tracker and its topics.
struct Deployment {
    installation: Installation<'static>,
    tracker: Process,
}

fn main() {
    let rounds = flag("--rounds", 3);
    let installation = Installation::without_topics(Kafka::shared(), "cost", PARTITIONS);
    installation.create_topics();
    installation.apply_policy("12h");
    let tracker = start_tracker(&installation, &["--slack", "1h"]);
    await_restored(&tracker, PARTITIONS);
    let deployment = Deployment {
        installation,
        tracker,
    };
    // The sessions that are active have started.
    deployment.write(ACTIVE, ACTIVE, 1);
    let flat = deployment.beside_idle_sessions(rounds);
    let linear = deployment.more_events(rounds);
    stop(deployment.tracker);
    if let Some(path) = std::env::args()
        .skip_while(|argument| argument != "--svg")
        .nth(1)
    {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::write(path, measure::plot::svg(&[flat, linear])).unwrap();
    }
}

impl Deployment {
    fn beside_idle_sessions(&self, rounds: u64) -> Panel {
        println!("| idle sessions | events | CPU s, each round | median | µs an event |");
        println!("|---|---|---|---|---|");
        let (mut idle, mut points) = (0, Vec::new());
        for count in IDLE {
            self.write(count - idle, count - idle, count);
            idle = count;
            points.push((count as f64, self.median(count, EVENTS, rounds)));
        }
        Panel {
            title: "1 million events, beside idle sessions",
            x: "idle sessions",
            y: "CPU s",
            scale: Scale::Logarithmic,
            points,
        }
    }

    fn more_events(&self, rounds: u64) -> Panel {
        println!("\n| idle sessions | events | CPU s, each round | median | µs an event |");
        println!("|---|---|---|---|---|");
        let idle = IDLE[IDLE.len() - 1];
        let point = |events| (events as f64, self.median(idle, events, rounds));
        Panel {
            title: "more events, beside 4 million idle sessions",
            x: "events",
            y: "CPU s",
            scale: Scale::Linear,
            points: MORE_EVENTS.map(point).to_vec(),
        }
    }

    /// What so many events of the active sessions cost, in seconds of CPU time.
    fn median(&self, idle: u64, events: u64, rounds: u64) -> f64 {
        let mut costs: Vec<f64> = (0..rounds).map(|_| self.cost(events)).collect();
        let all: Vec<String> = costs.iter().map(|cost| format!("{cost:.2}")).collect();
        costs.sort_unstable_by(f64::total_cmp);
        let median = costs[costs.len() / 2];
        let each = match events {
            0 => "-".to_owned(),
            events => format!("{:.2}", median / events as f64 * 1e6),
        };
        println!(
            "| {idle} | {events} | {} | {median:.2} | {each} |",
            all.join(", ")
        );
        median
    }

    fn cost(&self, events: u64) -> f64 {
        let id = self.tracker.id();
        let before = cpu_seconds(id);
        if events > 0 {
            // The seed names the sessions: those that have been active before.
            self.write(events, ACTIVE, 1);
        }
        std::thread::sleep(STORE_DELAY);
        cpu_seconds(id) - before
    }

    /// Writes events of `sessions` sessions that `seed` names, and waits until that has been
    /// committed. More events than sessions are spread over them.
    fn write(&self, events: u64, sessions: u64, seed: u64) {
        let per_session = events.div_ceil(sessions);
        let arguments = [
            ("--events", events),
            ("--events-per-session", per_session),
            ("--users", sessions),
            ("--seed", seed),
        ];
        let arguments = arguments.map(|(name, value)| [name.to_owned(), value.to_string()]);
        let arguments: Vec<&str> = arguments.iter().flatten().map(String::as_str).collect();
        self.installation
            .run_within(STEP_TIMEOUT, &[&["produce"], &arguments[..]].concat());
        Watch::new(&self.installation, "sundown-tracker", PARTITIONS).await_drained();
    }
}
