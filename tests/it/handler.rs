//! `sundown handler` on a real cluster.

mod bulkheads;
mod circuit;
mod crowd;
mod delivery;
mod dlq;
mod examples;
mod failure;
mod faults;
mod group;
mod mails;
mod pauses;
mod recipes;
mod signing;
mod stores;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use crate::receiver::Receiver;
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Process, Stream};
use crate::support::topic::{Isolation, NewRecord, Record};
use crate::support::wait::eventually;

/// For anything that should happen at once, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// From SIGTERM to the end of the process.
const EXIT_LIMIT: Duration = Duration::from_secs(5);
const SECRET: &str = "of the receiver";

/// An installation of a test's own: topics, and an actions file.
struct Installation<'a> {
    kafka: &'a Kafka,
    prefix: String,
    files: TempDir,
    /// The names of the actions of all handlers so far.
    actions: Mutex<BTreeSet<String>>,
}

/// A terminal event to be written.
#[derive(Clone, Debug)]
struct Ending {
    id: String,
    session: String,
    bytes: Vec<u8>,
}

impl Ending {
    fn of(user: &str) -> Self {
        Self::with(user, r#"{"tenant":"ümlaut"}"#)
    }

    /// With these attributes, a JSON object.
    fn with(user: &str, attributes: &str) -> Self {
        let id = Uuid::new_v4().to_string();
        let session = format!("session of {user} {}", &id[..8]);
        // No serializer writes it like this: what arrives must be these very bytes.
        let bytes = format!(
            r#"{{ "event_id" :"{id}","session_id":"{session}", "user_id":{user:?},
  "reason":"idle_timeout", "policy":{{"name":"default","generation":1}},
  "started_at":"2025-02-07T11:00:00.000Z", "last_activity":"2025-02-07T12:00:00.000Z",
  "ended_at":"2025-02-07T13:00:00.000Z", "detected_at":"2025-02-07T13:00:05.000Z",
  "attributes":{attributes}, "unknown":[1.50] }}"#
        );
        Self {
            id,
            session,
            bytes: bytes.into_bytes(),
        }
    }

    /// The same event for a session with this id.
    fn of_session(mut self, session: &str) -> Self {
        let text = String::from_utf8(self.bytes).unwrap();
        self.bytes = text.replace(&self.session, session).into_bytes();
        session.clone_into(&mut self.session);
        self
    }

    fn record(&self) -> NewRecord {
        NewRecord::new(self.session.as_str(), self.bytes.as_slice())
    }
}

impl Installation<'static> {
    fn new(partitions: i32) -> Self {
        Self::on(Kafka::shared(), partitions)
    }
}

impl<'a> Installation<'a> {
    fn on(kafka: &'a Kafka, partitions: i32) -> Self {
        let installation = Self {
            kafka,
            prefix: unique_prefix("handler"),
            files: TempDir::new().unwrap(),
            actions: Mutex::default(),
        };
        let policies = format!("{}sundown.policies", installation.prefix);
        let compacted = [("cleanup.policy", "compact")];
        installation.kafka.create_topic(&policies, 1, &compacted);
        let processes = format!("{}sundown.processes", installation.prefix);
        let appended = [("message.timestamp.type", "LogAppendTime")];
        installation.kafka.create_topic(&processes, 1, &appended);
        for topic in [installation.topic(), installation.dead_letter_topic()] {
            installation.kafka.create_topic(&topic, partitions, &[]);
        }
        installation
    }

    fn topic(&self) -> String {
        format!("{}expired_sessions", self.prefix)
    }

    fn dead_letter_topic(&self) -> String {
        format!("{}expired_sessions.dlq", self.prefix)
    }

    /// A handler that calls `receiver`, with this under `retry` in the actions file.
    fn start_calling(&self, receiver: &Receiver, retry: &str) -> Process {
        self.start(&webhook("notify", &receiver.url()), retry)
    }

    /// A handler with these list items under `actions`.
    fn start(&self, actions: &str, retry: &str) -> Process {
        self.launch(actions, retry).start()
    }

    fn launch(&self, actions: &str, retry: &str) -> Launch {
        let names = actions.split("name: ").skip(1);
        let names = names.filter_map(|rest| rest.split([',', '\n', '}']).next());
        self.actions
            .lock()
            .unwrap()
            .extend(names.map(str::to_owned));
        let file = self.files.path().join("actions.yaml");
        let text = format!("actions:\n{actions}retry: {{{retry}}}\n");
        std::fs::write(&file, text).unwrap();
        self.launch_without_actions()
            .arg("--actions")
            .arg(file)
            .env("WEBHOOK_SECRET", SECRET)
    }

    fn launch_without_actions(&self) -> Launch {
        Launch::sundown()
            .args(["handler", "-b", self.kafka.bootstrap()])
            .args(["--topic-prefix", &self.prefix, "--log-format", "json"])
    }

    /// Writes endings in a transaction, as the tracker does.
    fn write(&self, endings: &[Ending]) {
        let id = Uuid::new_v4().to_string();
        let writer = self.kafka.transactional_writer(&id);
        writer.begin();
        writer.write(&self.topic(), endings.iter().map(Ending::record));
        writer.commit();
    }

    /// Writes endings in a transaction that is aborted.
    fn write_aborted(&self, endings: &[Ending]) {
        let id = Uuid::new_v4().to_string();
        let writer = self.kafka.transactional_writer(&id);
        writer.begin();
        writer.write(&self.topic(), endings.iter().map(Ending::record));
        writer.abort();
    }

    fn dead_letters(&self) -> Vec<Record> {
        self.kafka
            .read(&self.dead_letter_topic(), Isolation::ReadCommitted)
    }

    fn wait_for_dead_letters(&self, count: usize) -> Vec<Record> {
        eventually(SOON, &format!("{count} dead letters"), || {
            Some(self.dead_letters()).filter(|letters| letters.len() >= count)
        })
    }

    /// The group that checks events.
    fn group(&self) -> String {
        format!("{}sundown-handler", self.prefix)
    }

    fn group_of(&self, action: &str) -> String {
        format!("{}.{action}", self.group())
    }

    /// How much the action `notify` has committed, if anything.
    fn committed(&self) -> Option<i64> {
        let group = self.group_of("notify");
        let committed = self.kafka.committed(&group, &self.topic());
        let total = committed.values().map(|at| at.offset).sum();
        (total > 0).then_some(total)
    }

    /// Waits until all actions have committed everything, transaction markers included.
    fn wait_until_drained(&self) {
        self.wait_until_group_drained(&self.group());
        for action in self.actions.lock().unwrap().iter() {
            self.wait_until_group_drained(&self.group_of(action));
        }
    }

    fn wait_until_group_drained(&self, group: &str) {
        eventually(SOON, &format!("a lag of 0 of {group}"), || {
            let lag = self.kafka.lag(group, &self.topic());
            lag.values().all(|lag| *lag == 0).then_some(())
        });
    }
}

/// A list item of the actions file.
fn webhook(name: &str, url: &str) -> String {
    format!(
        "  - {{name: {name}, type: webhook, url: '{url}', timeout: 2s, \
         secret: {{valueFrom: {{env: WEBHOOK_SECRET}}}}}}\n"
    )
}

/// Ends a handler with SIGTERM and sees that it takes it well.
fn stop(mut handler: Process) {
    handler.sigterm();
    let status = handler.wait(EXIT_LIMIT);
    assert!(
        status.success(),
        "{status}: {}",
        handler.text(Stream::Stderr)
    );
}

/// How often each of these must have been accepted.
fn once(endings: &[Ending]) -> BTreeMap<String, usize> {
    endings
        .iter()
        .map(|ending| (ending.id.clone(), 1))
        .collect()
}
