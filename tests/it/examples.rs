//! `examples/`: producers whose sessions end, and documents that are valid.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sundown::wire::partitioner::murmur2_partition;

use crate::support::installation::Installation;
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::process::{Launch, SUNDOWN, Stream};
use crate::third_party::{self, prepare};

/// For a client to be compiled and to write, on a busy machine.
const RUN_LIMIT: Duration = Duration::from_secs(240);
/// The producers write the time of each of their events, and a busy machine may stop them in between.
const LIMITS: Limits = Limits {
    idle: 1_800_000,
    absolute: None,
    lateness: 1_000,
};
/// Enough that a producer with another partitioner does not pass by chance.
const SESSIONS: usize = 8;
const PARTITIONS: i32 = 7;

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

/// Whether a tool can be used; prints that a part of a test is skipped if not.
pub fn is_installed(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool).arg(argument).output().is_ok();
    if !found {
        eprintln!("SKIPPED: {tool} is not installed; its examples are not run");
    }
    found
}

/// Compiles a Go program. `None` if Go is not installed or cannot fetch a module.
pub fn compiled_go(folder: &str, sources: &str, target: &Path) -> Option<Launch> {
    if !is_installed("go", "version") {
        return None;
    }
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(target).arg(sources);
    let built = command.current_dir(example(folder)).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: go does not build examples/{folder}");
        return None;
    }
    Some(Launch::program(target.to_str().expect("a path in UTF-8")))
}

/// The command of each language that can be run here, without arguments.
fn producers(folder: &Path) -> Vec<(&'static str, Launch)> {
    let mut producers = Vec::new();
    if is_installed("kcat", "-V") {
        let script = example("producers/shell/producer.sh");
        producers.push(("shell", Launch::program("sh").arg(script)));
    }
    if let Some(jars) = kafka_jars() {
        let java = Launch::program("java").arg("-cp").arg(jars.join("*"));
        let source = example("producers/java/Producer.java");
        producers.push(("java", java.arg(source)));
    } else {
        eprintln!("SKIPPED: Kafka's jars are not in the cache; the producer in Java is not run");
    }
    if let Some(go) = compiled_go("producers/go", ".", &folder.join("producer")) {
        producers.push(("go", go));
    }
    let install = ["npm", "ci", "--ignore-scripts", "--silent"];
    if let Some(node) = prepare("examples/producers/node", &install) {
        producers.push((
            "node",
            Launch::program("node").arg(node.join("producer.js")),
        ));
    } else {
        assert!(
            env::var_os(third_party::REQUIRED).is_none(),
            "npm cannot be used"
        );
        eprintln!("SKIPPED: npm is not installed or fetches nothing; the producer is not run");
    }
    if let Some(python) = prepare("examples/producers/python", &third_party::PIP_INSTALL) {
        let launch = Launch::program("python3").arg(python.join("producer.py"));
        let launch = launch.env("PYTHONPATH", python.join("packages"));
        producers.push(("python", launch));
    } else {
        eprintln!("SKIPPED: pip is not installed or fetches nothing; the producer is not run");
    }
    let binary = Path::new(SUNDOWN).with_file_name("examples");
    let binary = binary.join("session-producer");
    if binary.exists() {
        let binary = binary.to_str().expect("a path in UTF-8");
        producers.push(("rust", Launch::program(binary)));
    } else {
        eprintln!("SKIPPED: the producer in Rust: cargo build --example session-producer");
    }
    producers
}

/// The jars of the tests' Kafka.
fn kafka_jars() -> Option<PathBuf> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let jars = |folder: &PathBuf| {
        entries(folder.clone()).any(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("kafka-clients-")
        })
    };
    entries(third_party::cache())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("kafka-"))
        .flat_map(|entry| entries(entry.path()))
        .map(|entry| entry.path())
        .find(jars)
}

#[test]
fn sessions_of_the_producers_end_where_they_were_written() {
    let installation = Installation::with_partitions(Kafka::shared(), LIMITS, PARTITIONS);
    let tracker = installation.tracker(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    for (language, launch) in producers(folder.path()) {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| format!("{language}-{number}"))
            .collect();
        let launch = launch.args([installation.kafka.bootstrap(), &installation.session_logs()]);
        let mut producer = launch
            .arg(format!("user-{language}"))
            .args(&sessions)
            .start();
        let status = producer.wait(RUN_LIMIT);
        let stderr = producer.text(Stream::Stderr);
        assert!(status.success(), "{language}: {status}: {stderr}");

        installation.await_caught_up();
        let endings = installation.endings();
        for session in &sessions {
            let found: Vec<_> = endings
                .iter()
                .filter(|ending| ending.session == *session)
                .map(|ending| ending.reason.as_str())
                .collect();
            assert_eq!(found, ["logout"], "{session}");
        }
        let records = installation.read("session_logs");
        for session in &sessions {
            let key = Some(session.as_bytes());
            let home = murmur2_partition(key, PARTITIONS).expect("a partition");
            let found: Vec<_> = records
                .iter()
                .filter(|record| record.key.as_deref() == key)
                .map(|record| record.partition)
                .collect();
            assert_eq!(found, [home; 3], "{session}: partitions of its events");
        }
        assert_eq!(installation.read("session_logs.dlq").len(), 0, "{language}");
    }
    tracker.stop();
}

#[test]
fn policies_and_sources_are_valid() {
    for (command, folder, least) in [
        ("policy", "examples/policies", 3),
        ("source", "manifests/sources", 8),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).expect("a folder");
        let files: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
            .collect();
        assert!(files.len() >= least, "{files:?}");
        for file in files {
            let launch = Launch::sundown().args([command, "validate", "-f"]);
            let mut validation = launch.arg(&file).start();
            let status = validation.wait(RUN_LIMIT);
            let stderr = validation.text(Stream::Stderr);
            assert!(status.success(), "{}: {stderr}", file.display());
        }
    }
}
