//! Drains a topic with the tracker, exactly-once, and with a bare consumer, in turns.
//!
//!     cargo bench --bench drain                       3 M events, 6 and 60 a session
//!     cargo bench --bench drain -- --events 500000 --rounds 1
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. Both
//! read the same topic on the same machine, so their ratio means something; the
//! figures by themselves depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, reason = "not a library")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

#[path = "support/kafka.rs"]
mod kafka;

const SUNDOWN: &str = env!("CARGO_BIN_EXE_sundown");
const PARTITIONS: i32 = 3;

/// What one drain took.
struct Drain {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

fn main() {
    let flag = |name: &str, default: u64| {
        let mut arguments = std::env::args()
            .skip_while(|argument| argument != name)
            .skip(1);
        arguments
            .next()
            .map_or(default, |value| value.parse().expect("a number"))
    };
    let (events, rounds) = (flag("--events", 3_000_000), flag("--rounds", 3));
    let bootstrap = kafka::bootstrap();
    println!("{events} events, {PARTITIONS} partitions, {rounds} rounds, medians\n");
    println!("| events a session | reader | records/s | CPU µs a record | peak MiB | ratio |");
    println!("|---|---|---|---|---|---|");
    for per_session in [6, 60] {
        let prefix = format!("drain-{per_session}-{}-", std::process::id());
        fill(&bootstrap, &prefix, events, per_session);
        let (mut bare, mut tracker) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            bare.push(drain_bare(&bootstrap, &prefix, events));
            tracker.push(drain_tracker(&bootstrap, &prefix, round));
        }
        let (bare, tracker) = (median(bare), median(tracker));
        let ratio = bare.seconds / tracker.seconds;
        row(per_session, "bare consumer", &bare, events, 1.0);
        row(
            per_session,
            "tracker, exactly-once",
            &tracker,
            events,
            ratio,
        );
    }
}

fn row(per_session: u64, reader: &str, drain: &Drain, events: u64, ratio: f64) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let events = events as f64;
    println!(
        "| {per_session} | {reader} | {:.0} | {:.2} | {:.0} | {ratio:.2} |",
        events / drain.seconds,
        drain.cpu_seconds / events * 1e6,
        drain.peak_mib,
    );
}

/// The drain that was neither the quickest nor the slowest.
fn median(mut drains: Vec<Drain>) -> Drain {
    drains.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    drains.swap_remove(drains.len() / 2)
}

fn fill(bootstrap: &str, prefix: &str, events: u64, per_session: u64) {
    sundown(
        bootstrap,
        prefix,
        &["topics", "create", "--partitions", &PARTITIONS.to_string()],
    );
    let (events, per_session) = (events.to_string(), per_session.to_string());
    sundown(
        bootstrap,
        prefix,
        &[
            "produce",
            "--events",
            &events,
            "--events-per-session",
            &per_session,
            "--users",
            "50000",
            "--seed",
            "1",
        ],
    );
}

/// A poll loop that does nothing with the records, with the tracker's settings.
fn drain_bare(bootstrap: &str, prefix: &str, events: u64) -> Drain {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{prefix}bare"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("queued.max.messages.kbytes", "65536")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    let topic = format!("{prefix}session_logs");
    for partition in 0..PARTITIONS {
        all.add_partition_offset(&topic, partition, Offset::Beginning)
            .unwrap();
    }
    let cpu = cpu_seconds("self");
    let start = Instant::now();
    consumer.assign(&all).unwrap();
    let (mut records, mut bytes) = (0, 0);
    while records < events {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            bytes += message.unwrap().payload().map_or(0, <[u8]>::len);
            records += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(bytes);
    Drain {
        seconds,
        cpu_seconds: cpu_seconds("self") - cpu,
        peak_mib: peak_mib("self"),
    }
}

/// From the moment the tracker may read until the last offset is committed.
fn drain_tracker(bootstrap: &str, prefix: &str, round: u64) -> Drain {
    let group = format!("round-{round}");
    // Each round starts from nothing.
    let checkpoint = format!("checkpoint-{round}");
    let partitions = PARTITIONS.to_string();
    let own = ["--checkpoint-topic", &checkpoint];
    sundown(
        bootstrap,
        prefix,
        &[&["topics", "create", "--partitions", &partitions], &own[..]].concat(),
    );
    let mut child = command(bootstrap, prefix)
        .args(["tracker", "--log-format", "json", "--group", &group])
        .args(own)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let restored = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.contains("\"restored\""));
    let start = Instant::now();
    assert!(restored.is_some(), "the tracker ended before it could read");
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .filter(|line| line.contains("WARN"))
            .for_each(|line| eprintln!("{line}"));
    });

    let watch = Watch::new(bootstrap, prefix, &group);
    while !watch.drained() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let seconds = start.elapsed().as_secs_f64();
    let pid = child.id().to_string();
    let drain = Drain {
        seconds,
        cpu_seconds: cpu_seconds(&pid),
        peak_mib: peak_mib(&pid),
    };
    stop(&mut child);
    drain
}

/// Compares a group's committed offsets with the topic's ends.
struct Watch {
    consumer: BaseConsumer,
    question: TopicPartitionList,
    ends: Vec<i64>,
}

impl Watch {
    fn new(bootstrap: &str, prefix: &str, group: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", format!("{prefix}{group}"))
            .create()
            .unwrap();
        let topic = format!("{prefix}session_logs");
        let mut question = TopicPartitionList::new();
        let mut ends = Vec::new();
        for partition in 0..PARTITIONS {
            question.add_partition(&topic, partition);
            let (_, end) = consumer
                .fetch_watermarks(&topic, partition, Duration::from_secs(10))
                .unwrap();
            ends.push(end);
        }
        Self {
            consumer,
            question,
            ends,
        }
    }

    fn drained(&self) -> bool {
        let committed = self
            .consumer
            .committed_offsets(self.question.clone(), Duration::from_secs(10))
            .unwrap();
        let offsets = committed.elements();
        let mut pairs = offsets.iter().zip(&self.ends);
        pairs.all(|(element, end)| element.offset() == Offset::Offset(*end))
    }
}

fn command(bootstrap: &str, prefix: &str) -> Command {
    let mut command = Command::new(SUNDOWN);
    command.envs([
        ("SUNDOWN_BOOTSTRAP_SERVERS", bootstrap),
        ("SUNDOWN_TOPIC_PREFIX", prefix),
    ]);
    command
}

fn sundown(bootstrap: &str, prefix: &str, arguments: &[&str]) {
    let status = command(bootstrap, prefix)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "sundown {arguments:?}");
}

fn stop(child: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

/// User and system time of a process and its threads so far (proc(5), fields 14 and 15).
fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // USER_HZ is 100 on every Linux that Rust supports.
    ticks / 100.0
}

fn peak_mib(pid: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}
