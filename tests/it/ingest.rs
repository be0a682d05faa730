//! `sundown ingest` on a real Kafka.

mod beacon;
mod http;
mod https;
mod patterns;
mod port;
mod recreated;
mod registry;
mod ssf;
mod two_sources;

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use sundown::clock::Clock;
use tempfile::NamedTempFile;

use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::process::Stream;
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, Record};
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 6_000,
    absolute: None,
    lateness: 2_000,
};

/// A topic of access-log lines without keys, and its source.
pub struct AccessLog<'a> {
    installation: &'a Installation<'a>,
    topic: String,
    source: NamedTempFile,
}

impl<'a> AccessLog<'a> {
    fn new(installation: &'a Installation<'a>) -> Self {
        Self::with_partitions(installation, 3)
    }

    pub fn with_partitions(installation: &'a Installation<'a>, partitions: i32) -> Self {
        let topic = installation.topic("nginx-access");
        installation.kafka.create_topic(&topic, partitions, &[]);
        let recipe = include_str!("../../manifests/sources/nginx.yaml");
        let recipe = recipe.replace("topics: [nginx-access]", &format!("topics: [{topic}]"));
        let mut source = NamedTempFile::with_suffix(".yaml").expect("a file");
        source.write_all(recipe.as_bytes()).expect("it is written");
        Self {
            installation,
            topic,
            source,
        }
    }

    pub fn path(&self) -> &str {
        self.source.path().to_str().expect("a path in UTF-8")
    }

    fn ingest(&self) -> RoleProcess {
        start_ingest(self.installation, &["--sources", self.path()])
    }

    /// A request in each of these sessions now.
    pub fn write(&self, sessions: &[&str]) {
        let now = Clock::default().wall().as_millis();
        let time = DateTime::from_timestamp_millis(now).expect("a time");
        let time = time.format("%d/%b/%Y:%H:%M:%S +0000");
        let lines = sessions.iter().map(|session| {
            format!("192.0.2.10 - ann [{time}] \"GET /account HTTP/1.1\" 200 5316 \"-\" \"Mozilla/5.0\" {session}")
        });
        self.write_lines(lines);
    }

    fn write_lines(&self, lines: impl IntoIterator<Item = String>) {
        let records = lines.into_iter().map(|line| NewRecord {
            value: Some(line.into_bytes()),
            ..NewRecord::default()
        });
        self.installation.kafka.produce(&self.topic, records);
    }

    fn ended(&self, session: &str) -> bool {
        let endings = self.installation.endings();
        endings.iter().any(|ending| ending.session == session)
    }
}

fn start_ingest(installation: &Installation<'_>, args: &[&str]) -> RoleProcess {
    let own = [
        "ingest",
        "--commit-interval",
        "100ms",
        "--session-timeout",
        "6s",
    ];
    RoleProcess::start(installation.sundown(&[&own, args].concat()))
}

#[test]
fn access_logs_without_keys_become_sessions_exactly_once() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let log = AccessLog::new(&installation);
    let sessions: Vec<_> = (0..20).map(|number| format!("session-{number}")).collect();
    let names: Vec<_> = sessions.iter().map(String::as_str).collect();
    log.write(&names);
    log.write_lines(["not an access log".to_owned()]);
    let ingest = log.ingest();
    let tracker = installation.tracker(&[]);
    ingest.await_ready();
    eventually(SOON, "the events", || {
        (installation.read("session_logs").len() >= 20).then_some(())
    });
    for record in installation.read("session_logs") {
        let session = record.json()["session_id"].as_str().unwrap().to_owned();
        assert_eq!(record.key.as_deref(), Some(session.as_bytes()));
    }
    let letters = eventually(SOON, "the dead letter", || {
        let letters = installation.read("session_logs.dlq");
        (!letters.is_empty()).then_some(letters)
    });
    assert_eq!(letters[0].value.as_deref(), Some(&b"not an access log"[..]));
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("malformed"));
    assert_eq!(
        letters[0].header("sundown-dlq-source-topic"),
        Some(log.topic.as_str())
    );
    // Another process takes over where the first was killed.
    ingest.kill();
    let ingest = log.ingest();
    eventually(SOON, "the endings", || {
        (installation.endings().len() >= 20).then_some(())
    });
    let events = installation.read("session_logs");
    assert_eq!(events.len(), 20, "{events:?}");
    assert_eq!(installation.endings().len(), 20);
    ingest.stop();
    tracker.stop();
}

#[test]
fn an_ingest_that_was_down_logs_out_no_active_user() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let log = AccessLog::new(&installation);
    let active: Vec<_> = (0..10).map(|number| format!("active-{number}")).collect();
    let active: Vec<_> = active.iter().map(String::as_str).collect();
    let ingest = log.ingest();
    let tracker = installation.tracker(&[]);
    ingest.await_ready();
    tracker.await_ready();
    eventually(SOON, "the sessions", || {
        log.write(&active);
        log.write(&["idle"]);
        thread::sleep(Duration::from_millis(500));
        (tracker.metric("sundown_tracker_sessions_started_total", "") >= 11).then_some(())
    });
    ingest.stop();
    // Twice the idle timeout.
    for _ in 0..24 {
        log.write(&active);
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(
        installation.endings().len(),
        0,
        "nothing proves that a session is idle"
    );
    let ingest = log.ingest();
    eventually(SOON, "the end of the idle session", || {
        log.write(&active);
        thread::sleep(Duration::from_millis(500));
        log.ended("idle").then_some(())
    });
    assert_eq!(
        installation.endings().len(),
        1,
        "{:?}",
        installation.endings()
    );
    // Now the users leave.
    eventually(SOON, "the other ends", || {
        active
            .iter()
            .all(|session| log.ended(session))
            .then_some(())
    });
    assert_eq!(installation.endings().len(), 11);
    ingest.stop();
    tracker.stop();
}

#[test]
fn sources_are_applied_changed_and_deleted_while_ingest_runs() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let log = AccessLog::new(&installation);
    let ingest = start_ingest(&installation, &[]);
    let tracker = installation.tracker(&[]);
    ingest.await_ready();

    installation.run(&["source", "apply", "-f", log.path()]);
    let mut get = installation.sundown(&["source", "get"]).start();
    assert!(get.wait(SOON).success());
    assert!(get.text(Stream::Stdout).contains(&log.topic));
    eventually(SOON, "events of the source", || {
        log.write(&["first"]);
        thread::sleep(Duration::from_millis(200));
        (!installation.read("session_logs").is_empty()).then_some(())
    });

    let recipe = std::fs::read_to_string(log.path()).expect("the source");
    assert!(recipe.contains("'web'"), "{recipe}");
    let mut changed = NamedTempFile::with_suffix(".yaml").expect("a file");
    let recipe = recipe.replace("'web'", "'browser'");
    changed.write_all(recipe.as_bytes()).expect("it is written");
    installation.run(&[
        "source",
        "apply",
        "-f",
        changed.path().to_str().expect("UTF-8"),
    ]);
    eventually(SOON, "events of the changed source", || {
        log.write(&["second"]);
        thread::sleep(Duration::from_millis(200));
        let events = installation.read("session_logs");
        let client = |event: &Record| event.json()["attributes"]["client"].clone();
        events
            .iter()
            .any(|event| client(event) == "browser")
            .then_some(())
    });

    // What is no longer read holds no session.
    log.write(&["unread"]);
    installation.run(&["source", "delete", "nginx"]);
    eventually(SOON, "the endings", || {
        (log.ended("first") && log.ended("second")).then_some(())
    });
    ingest.stop();
    tracker.stop();
}
