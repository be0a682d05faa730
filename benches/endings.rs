//! Throughput of the handler: one webhook call per terminal event.
//!
//!     cargo bench --bench endings                       100,000 endings, 64 at once
//!     cargo bench --bench endings -- --endings 20000 --concurrency 16
//!     cargo bench --bench endings -- --dead --rounds 3  alone, then beside an action whose target is down
//!     cargo bench --bench endings -- --dead --endings 12000000 --alone-endings 1000000  beside it for longer
//!     cargo bench --bench endings -- --kill-seconds 5   the handler is killed as often
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. The
//! receiver answers at once, on the same machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;
use uuid::Uuid;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::flags::{flag, has_flag};
use measure::sink::Sink;
use measure::usage::{cpu_seconds, memory_mib};
use support::installation::Installation;
use support::kafka::Kafka;
use support::process::Process;

const PARTITIONS: u64 = 3;
/// Without progress for so long, the handler has stopped.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);
/// Short, so that a group evicts a killed member long before the next kill.
const SESSION_TIMEOUT: &str = "session.timeout.ms=2000";

/// Handlers of the same endings, each run in a consumer group of its own.
struct Bench<'a> {
    installation: Installation<'a>,
    endings: u64,
    concurrency: u64,
    sink: Sink,
    folder: TempDir,
}

fn main() {
    let kafka = Kafka::shared();
    let bench = Bench {
        installation: Installation::without_topics(kafka, "endings", PARTITIONS),
        endings: flag("--endings", 100_000),
        concurrency: flag("--concurrency", 64),
        sink: Sink::start(),
        folder: TempDir::new().unwrap(),
    };
    fill(&bench.installation, bench.endings);
    let kill = flag("--kill-seconds", 0);
    if kill > 0 {
        bench.kill_every(Duration::from_secs(kill));
        return;
    }
    println!(
        "| action | endings | concurrent calls | endings/s | CPU µs per ending | peak MiB after a tenth | peak MiB at the end |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let alone_endings = flag("--alone-endings", bench.endings).min(bench.endings);
    for round in 0..flag("--rounds", 1) {
        alone.push(bench.measure("alone", round, alone_endings, &[]));
        if has_flag("--dead") {
            let dead = [closed_address()];
            beside.push(bench.measure("beside a dead one", round, bench.endings, &dead));
        }
    }
    if !beside.is_empty() {
        let share = 100.0 * median(beside) / median(alone);
        println!("\nmedian beside a dead one: {share:.0} % of that alone");
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

impl Bench<'_> {
    /// A handler in a new group that calls the sink and targets that are down.
    fn launch(&self, group: &str, dead: &[SocketAddr]) -> Process {
        let mut text = "actions:\n".to_owned();
        for (name, address) in std::iter::once(("notify", self.sink.address))
            .chain(dead.iter().map(|address| ("dead", *address)))
        {
            writeln!(
                text,
                "- {{name: {name}, type: webhook, url: 'http://{address}/hook', \
                 secret: {{valueFrom: {{env: PATH}}}}}}"
            )
            .unwrap();
        }
        let actions: PathBuf = self.folder.path().join("actions.yaml");
        std::fs::write(&actions, text).unwrap();
        let concurrency = self.concurrency.to_string();
        let launch = self
            .installation
            .sundown(&["handler", "--concurrency", &concurrency]);
        let launch = launch.args(["--group", group, "-X", SESSION_TIMEOUT]);
        launch.arg("--actions").arg(&actions).start()
    }

    /// Handles so many endings, and returns how many a second.
    fn measure(&self, name: &str, round: u64, endings: u64, dead: &[SocketAddr]) -> f64 {
        self.sink.clear();
        let group = format!("{}-{round}", name.replace(' ', "-"));
        let handler = self.launch(&group, dead);
        let id = handler.id();
        self.await_calls(1);
        let (begun, cpu) = (Instant::now(), cpu_seconds(id));
        self.await_calls(endings / 10);
        let early = memory_mib(id, "VmHWM");
        self.await_calls(endings);
        let rate = endings as f64 / begun.elapsed().as_secs_f64();
        let peak = memory_mib(id, "VmHWM");
        let cpu = 1e6 * (cpu_seconds(id) - cpu) / endings as f64;
        let concurrency = self.concurrency;
        println!(
            "| {name} | {endings} | {concurrency} | {rate:.0} | {cpu:.0} | {early:.0} | {peak:.0} |"
        );
        rate
    }

    /// Kills the handler with SIGKILL in this interval, and starts it again at once, until every
    /// ending has been called.
    fn kill_every(&self, interval: Duration) {
        let begun = Instant::now();
        let (mut kills, mut handler) = (0, self.launch("killed", &[]));
        let mut progress = (0, Instant::now());
        loop {
            let started = Instant::now();
            while started.elapsed() < interval && self.sink.distinct() < self.endings {
                std::thread::sleep(Duration::from_millis(10));
            }
            let distinct = self.sink.distinct();
            if distinct >= self.endings {
                break;
            }
            if distinct > progress.0 {
                progress = (distinct, Instant::now());
            }
            assert!(
                progress.1.elapsed() < PROGRESS_TIMEOUT,
                "the handler has stopped at {distinct}"
            );
            handler.sigkill();
            kills += 1;
            handler = self.launch("killed", &[]);
        }
        let (endings, repeats) = (self.endings, self.sink.calls() - self.endings);
        let seconds = begun.elapsed().as_secs();
        println!("| endings | kills | missing | repeated calls | repeated per kill | seconds |");
        println!("|---|---|---|---|---|---|");
        println!(
            "| {endings} | {kills} | {} | {repeats} | {} | {seconds} |",
            endings - self.sink.distinct(),
            repeats / kills.max(1)
        );
        drop(handler);
    }

    /// Waits until there have been so many calls.
    fn await_calls(&self, count: u64) {
        let (mut last, mut at) = (0, Instant::now());
        loop {
            let now = self.sink.calls();
            if now >= count {
                return;
            }
            if now > last {
                (last, at) = (now, Instant::now());
            }
            assert!(
                at.elapsed() < PROGRESS_TIMEOUT,
                "the handler has stopped at {now}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// An address at which nothing listens.
fn closed_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn fill(installation: &Installation<'_>, endings: u64) {
    installation.create_topics();
    let producer: BaseProducer = installation
        .kafka
        .client()
        .set("queue.buffering.max.messages", "10000000")
        .create()
        .unwrap();
    let topic = installation.topic("expired_sessions");
    for number in 0..endings {
        let (id, session) = (Uuid::new_v4(), Uuid::new_v4().to_string());
        let ending = format!(
            r#"{{"event_id":"{id}","session_id":"{session}","user_id":{number},"reason":"idle_timeout","policy":{{"name":"default","generation":1}},"started_at":"2025-02-07T11:00:00.000Z","last_activity":"2025-02-07T12:00:00.000Z","ended_at":"2025-02-07T13:00:00.000Z","detected_at":"2025-02-07T13:00:05.000Z","attributes":{{}}}}"#
        );
        let record = BaseRecord::to(&topic).key(&session).payload(&ending);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PROGRESS_TIMEOUT).unwrap();
}
