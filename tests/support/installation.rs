//! An installation of one test: topics under a prefix, trackers, and their output.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;
use sundown::wire::partitioner::murmur2_partition;
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::kafka::{Kafka, unique_prefix};
use super::model::{self, Ending, Expected, Limits, Log};
use super::process::{Launch, SUNDOWN, Stream};
use super::role::RoleProcess;
use super::topic::{Isolation, NewRecord, Record};
use super::wait::{eventually, within};

/// For whatever has to happen; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(90);
/// Sessions that end within a test.
pub const SHORT: Limits = Limits {
    idle: 3_000,
    absolute: Some(8_000),
    lateness: 1_000,
};
pub const PARTITIONS: i32 = 3;

#[derive(Clone)]
pub struct Installation<'a> {
    pub kafka: &'a Kafka,
    pub limits: Limits,
    prefix: String,
    partitions: i32,
    append_time: bool,
    binary: String,
}

impl<'a> Installation<'a> {
    /// Topics as `sundown topics create` makes them.
    pub fn new(kafka: &'a Kafka, limits: Limits) -> Self {
        Self::with_partitions(kafka, limits, PARTITIONS)
    }

    /// The same, with as many partitions of session events.
    pub fn with_partitions(kafka: &'a Kafka, limits: Limits, partitions: i32) -> Self {
        let installation = Self {
            kafka,
            limits,
            prefix: unique_prefix("pipeline"),
            partitions,
            append_time: true,
            binary: SUNDOWN.to_owned(),
        };
        installation.create_topics();
        installation
    }

    /// The same, but the session events carry their producers' timestamps.
    pub fn with_create_time(kafka: &'a Kafka, limits: Limits) -> Self {
        let installation = Self {
            kafka,
            limits,
            prefix: unique_prefix("pipeline"),
            partitions: PARTITIONS,
            append_time: false,
            binary: SUNDOWN.to_owned(),
        };
        kafka.create_topic(&installation.session_logs(), PARTITIONS, &[]);
        installation.create_topics();
        installation
    }

    /// An installation whose topics do not exist yet.
    pub fn without_topics(kafka: &'a Kafka, name: &str, partitions: u64) -> Self {
        Self {
            kafka,
            limits: SHORT,
            prefix: unique_prefix(name),
            partitions: partitions.try_into().expect("a number of partitions"),
            append_time: true,
            binary: SUNDOWN.to_owned(),
        }
    }

    /// The same topics for processes of another build.
    pub fn with_binary(&self, binary: &str) -> Self {
        Self {
            binary: binary.to_owned(),
            ..self.clone()
        }
    }

    pub fn create_topics(&self) {
        self.run(&[
            "topics",
            "create",
            "--partitions",
            &self.partitions.to_string(),
        ]);
    }

    /// Runs a subcommand, which must succeed.
    pub fn run(&self, args: &[&str]) {
        self.run_within(SOON, args);
    }

    /// The same with another time limit.
    pub fn run_within(&self, timeout: Duration, args: &[&str]) {
        let mut command = self.sundown(args).start();
        let status = command.wait(timeout);
        assert!(
            status.success(),
            "{args:?}: {}",
            command.text(Stream::Stderr)
        );
    }

    /// Applies one policy to every session.
    pub fn apply_policy(&self, idle_timeout: &str) {
        let mut file = NamedTempFile::with_suffix(".yaml").expect("a file");
        write!(
            file,
            "{{apiVersion: sundown.dev/v1alpha1, kind: SessionPolicy, \
             metadata: {{name: default}}, spec: {{idleTimeout: {idle_timeout}}}}}"
        )
        .expect("the file is written");
        let path = file.path().to_str().expect("a path in UTF-8");
        self.run(&["policy", "apply", "-f", path]);
    }

    pub fn sundown(&self, args: &[&str]) -> Launch {
        self.connect(Launch::program(&self.binary).args(args))
    }

    /// Connection flags for a launch of sundown, under whatever other program.
    pub fn connect(&self, launch: Launch) -> Launch {
        let connection = ["-b", self.kafka.bootstrap(), "--topic-prefix", &self.prefix];
        launch.args(connection)
    }

    /// Starts a tracker with the installation's limits, and settings that make it quick to commit,
    /// to checkpoint and to fail over. Flags in `args`, each with a value, go before those.
    pub fn tracker(&self, args: &[&str]) -> RoleProcess {
        self.tracker_of(Launch::sundown(), args)
    }

    /// The same with what `launch` has of the command line so far.
    pub fn tracker_of(&self, launch: Launch, args: &[&str]) -> RoleProcess {
        let millis = |millis: i64| format!("{millis}ms");
        let mut flags = vec![
            ("--idle-timeout", millis(self.limits.idle)),
            ("--allowed-lateness", millis(self.limits.lateness)),
            ("--commit-interval", "100ms".to_owned()),
            ("--slack", "2s".to_owned()),
            ("--session-timeout", "3s".to_owned()),
        ];
        if let Some(absolute) = self.limits.absolute {
            flags.push(("--absolute-timeout", millis(absolute)));
        }
        flags.retain(|(flag, _)| !args.contains(flag));
        let launch = self.connect(launch.arg("tracker")).args(args);
        let launch = flags.iter().fold(launch, |launch, (flag, value)| {
            launch.args([flag, value.as_str()])
        });
        RoleProcess::start(launch)
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn session_logs(&self) -> String {
        self.topic("session_logs")
    }

    pub fn group(&self) -> String {
        self.topic("sundown-tracker")
    }

    pub fn read(&self, topic: &str) -> Vec<Record> {
        self.kafka
            .read(&self.topic(topic), Isolation::ReadCommitted)
    }

    /// All session events that count, as applications wrote them.
    pub fn log(&self) -> Log {
        let (forwarded, records): (Vec<_>, Vec<_>) = self
            .read("session_logs")
            .into_iter()
            .partition(Record::is_forwarded_event_of_session);
        let session = |record: &Record| record.json()["session_id"].as_str().map(str::to_owned);
        Log {
            topic: self.session_logs(),
            append_time: self.append_time,
            records,
            misrouted: forwarded.iter().filter_map(session).collect(),
            upstream: BTreeMap::new(),
        }
    }

    /// All terminal events, in no order.
    pub fn endings(&self) -> Vec<Ending> {
        self.read("expired_sessions")
            .iter()
            .map(model::parse)
            .collect()
    }

    /// Waits for terminal events until there are as many as the log lets expect, and compares.
    /// Then nothing may be left: no checkpoint, no lag.
    pub fn verify(&self) -> Expected {
        self.verify_with(|| self.log())
    }

    /// The same with what `log` knows of the events.
    pub fn verify_with(&self, log: impl Fn() -> Log) -> Expected {
        let expected = model::expected(&log(), self.limits);
        let want = expected.certain(expected.endings.clone()).len();
        let have_ended = within(SOON, || {
            (expected.certain(self.endings()).len() >= want).then_some(())
        });
        // By now, more events that were on the wrong partition have been forwarded.
        if have_ended.is_none() {
            model::expected(&log(), self.limits).compare(self.endings());
        }
        self.await_nothing_left();
        let log = log();
        let expected = model::expected(&log, self.limits);
        eprintln!(
            "{} events, {want} endings, {} of them doubtful, {} records aborted",
            log.records.len(),
            expected.doubtful.len(),
            self.aborted_records()
        );
        expected.compare(self.endings());
        expected
    }

    /// What the log lets expect, which has to be there by now.
    pub fn verify_now(&self) -> Expected {
        let expected = model::expected(&self.log(), self.limits);
        expected.compare(self.endings());
        expected
    }

    /// Waits until everything that is in the log by now has been dealt with: ends an
    /// unknown session on each partition, and waits for that.
    pub fn await_caught_up(&self) {
        let now = Clock::default().wall().as_millis();
        let probes: Vec<_> = (0..self.partitions)
            .map(|partition| self.key_on(partition))
            .collect();
        let events = probes.iter().map(|session| {
            let event =
                json!({"session_id": session, "activity_timestamp": now, "event": "logout"});
            NewRecord::new(session.as_str(), event.to_string())
        });
        self.kafka.produce(&self.session_logs(), events);
        eventually(SOON, "the end of what was written", || {
            let endings = self.endings();
            let ended = |probe: &String| endings.iter().any(|ending| ending.session == *probe);
            probes.iter().all(ended).then_some(())
        });
    }

    /// A new session id whose events belong on this partition.
    pub fn key_on(&self, partition: i32) -> String {
        let mut keys = std::iter::repeat_with(|| Uuid::new_v4().to_string());
        let is_there = |key: &String| {
            murmur2_partition(Some(key.as_bytes()), self.partitions) == Some(partition)
        };
        keys.find(is_there)
            .expect("there are keys for every partition")
    }

    /// Waits until no session has a checkpoint and everything that was read is committed.
    pub fn await_nothing_left(&self) {
        eventually(SOON, "the end of all checkpoints", || {
            self.checkpoints().is_empty().then_some(())
        });
        eventually(SOON, "a lag of 0", || {
            let lag = self.kafka.lag(&self.group(), &self.session_logs());
            lag.values().all(|lag| *lag == 0).then_some(())
        });
    }

    /// Outputs of aborted and open transactions.
    pub fn aborted_records(&self) -> usize {
        let count = |name: &str| {
            let places = |records: Vec<Record>| -> BTreeSet<(i32, i64)> {
                let places = records
                    .iter()
                    .map(|record| (record.partition, record.offset));
                places.collect()
            };
            let topic = self.topic(name);
            let all = places(self.kafka.read(&topic, Isolation::ReadUncommitted));
            // Read later: what was open may have been committed since, and more has come.
            let committed = places(self.read(name));
            all.difference(&committed).count()
        };
        count("sundown.checkpoint") + count("expired_sessions")
    }

    /// Waits until the session's start is committed.
    pub fn await_checkpoint(&self, session: &str) {
        eventually(SOON, "a checkpoint of the session", || {
            self.checkpoints()
                .contains_key(session.as_bytes())
                .then_some(())
        });
    }

    /// What a compacted checkpoint topic would hold of live sessions, by session.
    pub fn checkpoints(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut state = BTreeMap::new();
        for record in self.read("sundown.checkpoint") {
            let key = record.key.expect("a session");
            match record.value {
                Some(value) if is_live(&value) => state.insert(key, value),
                Some(_) | None => state.remove(&key),
            };
        }
        state
    }
}

/// Whether the value of a checkpoint record holds a live session: the first bit of its second byte.
fn is_live(value: &[u8]) -> bool {
    value.get(1).is_some_and(|parts| parts & 1 == 1)
}
