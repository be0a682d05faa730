//! A website that knows nothing of session events: its topic, and how ingest maps that.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::installation::{Installation, SOON};
use crate::support::model::{Log, time_of};
use crate::support::process::{Launch, Process};
use crate::support::topic::{Isolation, NewRecord, Record};
use crate::support::wait::{eventually, within};

const PARTITIONS: i32 = 4;
/// How often ingest commits.
const COMMIT_INTERVAL: &str = "100ms";

/// Who writes the events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    Website,
    /// Quotes the keys.
    OfJsonKeys,
    /// Does not notice added partitions.
    Outdated,
    Right,
}

impl Producer {
    /// Always the same for a session, so that the order of its events is known.
    pub fn of(session: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        session.hash(&mut hasher);
        match hasher.finish() % 4 {
            0 => Self::OfJsonKeys,
            1 => Self::Outdated,
            2 => Self::Website,
            _ => Self::Right,
        }
    }
}

/// The topic of the website, with a source for ingest.
pub struct Website {
    topic: String,
    group: String,
    source: NamedTempFile,
}

impl Website {
    /// Creates the topic.
    pub fn new(installation: &Installation<'_>) -> Self {
        let topic = installation.topic("website_clicks");
        let settings = [("message.timestamp.type", "LogAppendTime")];
        installation
            .kafka
            .create_topic(&topic, PARTITIONS, &settings);
        let mut source = NamedTempFile::with_suffix(".yaml").expect("a file");
        write!(
            source,
            "apiVersion: sundown.dev/v1alpha1
kind: SessionSource
metadata: {{name: website}}
spec:
  topics: [{topic}]
  session:
    id: value.sid
    user: value.who
    time: value.at
    event: value.what
    attributes: {{client: value.client, tenant: value.tenant}}
"
        )
        .expect("the file is written");
        Self {
            group: installation.topic(&format!("sundown-ingest.{topic}")),
            topic,
            source,
        }
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Starts an ingest process with what `launch` has of the command line so far.
    pub fn ingest(
        &self,
        installation: &Installation<'_>,
        launch: Launch,
        args: &[&str],
    ) -> Process {
        let launch = installation.connect(launch.arg("ingest")).args(args);
        let own = [
            "--commit-interval",
            COMMIT_INTERVAL,
            "--session-timeout",
            "3s",
        ];
        let launch = launch.args(own).arg("--sources").arg(self.source.path());
        launch.start()
    }

    /// Waits until ingest has mapped everything.
    pub fn await_mapped(&self, installation: &Installation<'_>) {
        eventually(SOON, "a lag of ingest of 0", || {
            let lag = installation.kafka.lag(&self.group, &self.topic);
            let is_mapped = lag.values().all(|lag| *lag == 0);
            is_mapped.then_some(())
        });
    }

    /// All session events, those of the website with the time at which they reached its topic: from then
    /// on no tracker may end their session without them.
    ///
    /// # Panics
    /// If ingest has written an event that the website did not.
    pub fn log(&self, installation: &Installation<'_>) -> Log {
        let mut log = installation.log();
        let mut times = self.times(installation);
        for record in log.records.iter().filter(|record| is_mapped(record)) {
            let time = times.get_mut(&event(record)).and_then(VecDeque::pop_front);
            let time = time.unwrap_or_else(|| panic!("not of the website: {}", record.line()));
            log.upstream.insert((record.partition, record.offset), time);
        }
        log
    }

    /// Checks that ingest has written each event of the website exactly once. Offsets of a transaction may be
    /// visible before its records.
    ///
    /// # Panics
    /// If an event is missing or doubled.
    pub fn compare(&self, installation: &Installation<'_>) {
        let is_right = || self.missing(installation).is_empty().then_some(());
        if within(SOON, is_right).is_none() {
            let missing = self.missing(installation);
            panic!("missing, or doubled if below 0: {missing:#?}");
        }
    }

    /// How often each event of the website is missing; negative if it is there too often.
    fn missing(&self, installation: &Installation<'_>) -> BTreeMap<Event, isize> {
        let times = self.times(installation);
        let clicks = times.into_iter().map(|(event, times)| (event, times.len()));
        let mut missing: BTreeMap<Event, isize> = clicks
            .map(|(event, count)| (event, count.cast_signed()))
            .collect();
        for record in installation
            .log()
            .records
            .iter()
            .filter(|one| is_mapped(one))
        {
            *missing.entry(event(record)).or_default() -= 1;
        }
        missing.retain(|_, count| *count != 0);
        missing
    }

    /// When the events reached the topic.
    fn times(&self, installation: &Installation<'_>) -> BTreeMap<Event, VecDeque<i64>> {
        let mut times = BTreeMap::<Event, VecDeque<i64>>::new();
        let clicks = installation
            .kafka
            .read(&self.topic, Isolation::ReadCommitted);
        for record in clicks {
            let click = record.json();
            let event = Event {
                session: click["sid"].to_string(),
                user: click["who"].to_string(),
                at: click["at"].as_i64().expect("a time"),
                kind: click["what"].as_str().expect("a kind").to_owned(),
                client: click["client"].to_string(),
            };
            times.entry(event).or_default().push_back(record.timestamp);
        }
        times
    }
}

/// What website and session event have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    session: String,
    user: String,
    at: i64,
    kind: String,
    client: String,
}

fn event(record: &Record) -> Event {
    let event = record.json();
    Event {
        session: event["session_id"].to_string(),
        user: event["user_id"].to_string(),
        at: time_of(&event),
        kind: kind(&event).to_owned(),
        client: event["attributes"]["client"].to_string(),
    }
}

fn kind(event: &Value) -> &str {
    event["event"].as_str().unwrap_or("activity")
}

/// Whether an event came from the website.
fn is_mapped(record: &Record) -> bool {
    let event = record.json();
    let session = event["session_id"].as_str();
    session.is_some_and(|session| Producer::of(session.as_bytes()) == Producer::Website)
}

/// What the website writes instead of a session event: other names, and no key.
pub fn click(record: &NewRecord) -> NewRecord {
    let value = record.value.as_deref().expect("an event");
    let event: Value = serde_json::from_slice(value).expect("JSON");
    let mut click = json!({
        "sid": event["session_id"],
        "who": event["user_id"],
        "at": event["activity_timestamp"],
        "what": kind(&event),
    });
    if let Some(attributes) = event["attributes"].as_object() {
        click
            .as_object_mut()
            .expect("an object")
            .extend(attributes.clone());
    }
    NewRecord {
        value: Some(click.to_string().into_bytes()),
        ..NewRecord::default()
    }
}
