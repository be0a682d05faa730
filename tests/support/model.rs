//! What has to come out: a slow and obvious reading of the log, written without a look at the
//! tracker's own code.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::topic::Record;

/// Names the event ids of Sundown (UUIDv5); fixed for good.
const EVENT_IDS: Uuid = uuid!("8f4e6f0c-7d0b-4b5e-9a57-3c2a61d8e4b2");

/// The timeouts that sessions live under, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub idle: i64,
    pub absolute: Option<i64>,
    pub lateness: i64,
}

/// What a terminal event has to say. Times are in epoch milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ending {
    pub session: String,
    pub reason: String,
    pub started_at: Option<i64>,
    pub last_activity: Option<i64>,
    pub ended_at: i64,
    /// JSON, like the attributes.
    pub user: String,
    pub attributes: String,
    pub event_id: Uuid,
}

/// What has to come out of a log.
#[derive(Debug, Default)]
pub struct Expected {
    pub endings: Vec<Ending>,
    /// Sessions whose events reached the log so late that it depends on the moment whether they
    /// still counted. The log does not determine it, so the model cannot.
    pub doubtful: BTreeSet<String>,
}

/// A topic of session events, and everything that is in it.
#[derive(Debug)]
pub struct Log {
    pub topic: String,
    /// Whether the records' timestamps are the brokers'.
    pub append_time: bool,
    /// Ordered by partition and offset.
    pub records: Vec<Record>,
}

/// Reads a whole log after which nothing more happens.
pub fn expected(log: &Log, limits: Limits) -> Expected {
    let mut partitions: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
    for record in &log.records {
        partitions.entry(record.partition).or_default().push(record);
    }
    let mut expected = Expected::default();
    for records in partitions.values() {
        let mut reader = Reader {
            limits,
            log,
            live: Vec::new(),
            expected: &mut expected,
        };
        for record in records {
            reader.read(record);
        }
        while !reader.live.is_empty() {
            reader.time_out(0);
        }
    }
    expected.endings.sort();
    expected
}

/// A terminal event as it was read from its topic, with all of its fields.
pub fn parse(record: &Record) -> Ending {
    let json = record.json();
    let time = |name: &str| json[name].as_str().map(millis);
    Ending {
        session: json["session_id"].as_str().expect("a session").to_owned(),
        reason: json["reason"].as_str().expect("a reason").to_owned(),
        started_at: time("started_at"),
        last_activity: time("last_activity"),
        ended_at: time("ended_at").expect("an end"),
        user: json["user_id"].to_string(),
        attributes: json["attributes"].to_string(),
        event_id: json["event_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id"),
    }
}

/// The id of the ending of the session that started at a partition and an offset.
pub fn event_id(topic: &str, (partition, offset): (i32, i64), reason: &str) -> Uuid {
    let name = format!("{topic}/{partition}/{offset}/{reason}");
    Uuid::new_v5(&EVENT_IDS, name.as_bytes())
}

/// The time of an event by its own account, in epoch milliseconds.
pub fn time_of(event: &Value) -> i64 {
    match &event["activity_timestamp"] {
        Value::String(text) => millis(text),
        number => number.as_i64().expect("a time"),
    }
}

/// Epoch milliseconds of RFC 3339.
pub fn millis(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap_or_else(|error| panic!("'{text}': {error}"))
        .timestamp_millis()
}

/// Reads one partition.
struct Reader<'a> {
    limits: Limits,
    log: &'a Log,
    /// In the order of their starts.
    live: Vec<Live>,
    expected: &'a mut Expected,
}

struct Live {
    session: String,
    user: Value,
    started_at: i64,
    last_activity: i64,
    /// Partition and offset.
    start: (i32, i64),
    attributes: Value,
}

impl Reader<'_> {
    fn read(&mut self, record: &Record) {
        let event = record.json();
        let at = time_of(&event);
        let kind = event["event"].as_str().unwrap_or("activity");
        let appended = self.log.append_time.then_some(record.timestamp);
        let start = (record.partition, record.offset);
        let Some(session) = event["session_id"].as_str() else {
            self.log_out_everywhere(&event["user_id"], at, kind, appended);
            return;
        };
        let live = self.live.iter().position(|live| live.session == session);
        if let Some(number) = live {
            let deadline = self.deadline(number).0;
            if at < deadline {
                self.doubt(session, deadline, appended);
                self.act(number, &event, at, kind);
                return;
            }
            self.time_out(number);
        }
        self.doubt(session, self.first_deadline(at), appended);
        if kind == "logout" || kind == "revoke" {
            self.end_unknown(session, &event, at, kind, start);
        } else {
            self.live.push(Live {
                session: session.to_owned(),
                user: event["user_id"].clone(),
                started_at: at,
                last_activity: at,
                start,
                attributes: attributes(&event),
            });
        }
    }

    /// An event within the life of a session.
    fn act(&mut self, number: usize, event: &Value, at: i64, kind: &str) {
        if kind == "logout" || kind == "revoke" {
            self.end(number, reason(kind), at);
            return;
        }
        let live = &mut self.live[number];
        live.last_activity = live.last_activity.max(at);
        if kind == "login" {
            live.started_at = live.started_at.max(at);
            live.user = event["user_id"].clone();
        }
        if event["attributes"].is_object() {
            live.attributes = attributes(event);
        }
    }

    fn log_out_everywhere(&mut self, user: &Value, at: i64, kind: &str, appended: Option<i64>) {
        let mut number = 0;
        while number < self.live.len() {
            if self.live[number].user != *user {
                number += 1;
                continue;
            }
            let deadline = self.deadline(number).0;
            if at < deadline {
                let session = self.live[number].session.clone();
                self.doubt(&session, deadline, appended);
                self.end(number, reason(kind), at);
            } else {
                self.time_out(number);
            }
        }
    }

    /// Whether the tracker may have seen the session's deadline pass before the record came.
    fn doubt(&mut self, session: &str, deadline: i64, appended: Option<i64>) {
        const ROUNDING: i64 = 5;
        if appended.is_some_and(|appended| appended + ROUNDING >= deadline + self.limits.lateness) {
            self.expected.doubtful.insert(session.to_owned());
        }
    }

    fn time_out(&mut self, number: usize) {
        let (deadline, reason) = self.deadline(number);
        self.end(number, reason, deadline);
    }

    fn end(&mut self, number: usize, reason: &str, ended_at: i64) {
        let live = self.live.remove(number);
        self.expected.endings.push(Ending {
            event_id: event_id(&self.log.topic, live.start, reason),
            session: live.session,
            reason: reason.to_owned(),
            started_at: Some(live.started_at),
            last_activity: Some(live.last_activity),
            ended_at,
            user: live.user.to_string(),
            attributes: live.attributes.to_string(),
        });
    }

    fn end_unknown(
        &mut self,
        session: &str,
        event: &Value,
        at: i64,
        kind: &str,
        start: (i32, i64),
    ) {
        self.expected.endings.push(Ending {
            event_id: event_id(&self.log.topic, start, reason(kind)),
            session: session.to_owned(),
            reason: reason(kind).to_owned(),
            started_at: None,
            last_activity: None,
            ended_at: at,
            user: event["user_id"].to_string(),
            attributes: attributes(event).to_string(),
        });
    }

    fn deadline(&self, number: usize) -> (i64, &'static str) {
        let live = &self.live[number];
        let idle = live.last_activity + self.limits.idle;
        match self.limits.absolute {
            Some(absolute) if live.started_at + absolute <= idle => {
                (live.started_at + absolute, "absolute_timeout")
            }
            _ => (idle, "idle_timeout"),
        }
    }

    fn first_deadline(&self, at: i64) -> i64 {
        at + self
            .limits
            .absolute
            .unwrap_or(i64::MAX)
            .min(self.limits.idle)
    }
}

fn reason(kind: &str) -> &'static str {
    match kind {
        "logout" => "logout",
        "revoke" => "revoked",
        other => panic!("'{other}' ends nothing"),
    }
}

fn attributes(event: &Value) -> Value {
    match &event["attributes"] {
        Value::Null => json!({}),
        attributes => attributes.clone(),
    }
}
