//! Compares the tracker with an equivalent Kafka Streams program (`benches/kafka-streams/`) on
//! the same topics.
//!
//!     cargo bench --bench peer                                      1 M events
//!     cargo bench --bench peer -- --events 3000000 --live 500000
//!
//! Needs Java 17 and Maven. Brings up its own Kafka (`tests/kafka/kafka`), or uses
//! SUNDOWN_TEST_BOOTSTRAP. Both read the same history, six events a session, and
//! their output is compared with the expected endings; then both restore the same live
//! sessions, and take over the partitions of a killed process.
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

#[path = "peer/competitor.rs"]
mod competitor;
#[path = "peer/history.rs"]
mod history;
#[path = "peer/takeover.rs"]
mod takeover;
#[path = "peer/topics.rs"]
mod topics;

use competitor::{Competitor, Engine};
use history::History;
use measure::drained::Watch;
use measure::flags::flag;
use measure::usage::{cpu_seconds, memory_mib};
use measure::{STEP_TIMEOUT, stop};
use support::installation::Installation;
use support::kafka::Kafka;

const PARTITIONS: u64 = 3;
/// Limit until all expected endings are written.
const ENDINGS_TIMEOUT: Duration = Duration::from_secs(120);

/// What is measured of one program.
struct Figures {
    name: &'static str,
    events_per_second: f64,
    cpu_micros: f64,
    peak_mib: f64,
    changelog_records: u64,
    changelog_bytes: u64,
    restore: Duration,
    takeover: Duration,
}

fn main() {
    let (events, live) = (flag("--events", 1_000_000), flag("--live", 200_000));
    let kafka = Kafka::shared();
    let past = Installation::without_topics(kafka, "past", PARTITIONS);
    topics::create_with_producers_time(&past, PARTITIONS);
    let history = History::new(events / history::EVENTS_PER_SESSION);
    history.write(&past);
    let present = Installation::without_topics(kafka, "present", PARTITIONS);
    present.create_topics();
    start_sessions(&present, live);

    eprintln!(
        "{} events, {} endings, {live} live sessions",
        history.len(),
        history.endings().len()
    );
    let engines = [Engine::Sundown, Engine::InMemory, Engine::RocksDb];
    let figures: Vec<Figures> = engines
        .into_iter()
        .map(|engine| measure(engine, &past, &history, &present))
        .collect();
    print(&figures, history.len() as f64);
}

fn start_sessions(present: &Installation<'_>, live: u64) {
    let live = live.to_string();
    present.run_within(
        STEP_TIMEOUT,
        &[
            "produce",
            "--events",
            &live,
            "--events-per-session",
            "1",
            "--users",
            "100000",
        ],
    );
}

fn measure(
    engine: Engine,
    past: &Installation<'_>,
    history: &History,
    present: &Installation<'_>,
) -> Figures {
    let competitor = Competitor::new(engine, past);
    let process = competitor.start("first", history::TIMEOUTS, PARTITIONS);
    let begun = Instant::now();
    Watch::new(past, &competitor.group(), PARTITIONS).await_drained();
    let seconds = begun.elapsed().as_secs_f64();
    let events = history.len() as f64;
    let cpu_micros = cpu_seconds(process.id()) / events * 1e6;
    let peak_mib = memory_mib(process.id(), "VmHWM");
    let expected = history.endings();
    let written =
        topics::await_endings(past, &competitor.target(), expected.len(), ENDINGS_TIMEOUT);
    if let Some((written, expected)) = written.iter().zip(expected).find(|(a, b)| a != b) {
        panic!("{}: {written:?} instead of {expected:?}", engine.name());
    }
    stop(process);
    let (changelog_records, changelog_bytes) = competitor
        .changelogs()
        .iter()
        .map(|topic| topics::size(past, topic))
        .fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));

    let competitor = Competitor::new(engine, present);
    let process = competitor.start("first", history::LONG_TIMEOUTS, PARTITIONS);
    Watch::new(present, &competitor.group(), PARTITIONS).await_drained();
    stop(process);
    let begun = Instant::now();
    let process = competitor.start("second", history::LONG_TIMEOUTS, PARTITIONS);
    let restore = begun.elapsed();
    let takeover = takeover::measure(present, &competitor, process);
    Figures {
        name: engine.name(),
        events_per_second: events / seconds,
        cpu_micros,
        peak_mib,
        changelog_records,
        changelog_bytes,
        restore,
        takeover,
    }
}

fn print(figures: &[Figures], events: f64) {
    let row = |what: &str, figure: &dyn Fn(&Figures) -> String| {
        let cells: Vec<String> = figures.iter().map(figure).collect();
        println!("| {what} | {} |", cells.join(" | "));
    };
    row("", &|figures| figures.name.to_owned());
    println!("|---{}|", "|---".repeat(figures.len()));
    row("events a second", &|figures| {
        format!("{:.0}", figures.events_per_second)
    });
    row("CPU an event, µs", &|figures| {
        format!("{:.2}", figures.cpu_micros)
    });
    row("peak memory, MiB", &|figures| {
        format!("{:.0}", figures.peak_mib)
    });
    row("changelog records an event", &|figures| {
        format!("{:.2}", figures.changelog_records as f64 / events)
    });
    row("changelog bytes an event", &|figures| {
        format!("{:.1}", figures.changelog_bytes as f64 / events)
    });
    row("start, restore included, s", &|figures| {
        format!("{:.1}", figures.restore.as_secs_f64())
    });
    row(
        "SIGKILL until all partitions end sessions elsewhere, s",
        &|figures| format!("{:.1}", figures.takeover.as_secs_f64()),
    );
}
