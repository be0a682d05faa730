//! The reference model: a slow and obvious computation of the expected endings from the log,
//! independent of the tracker's code.

pub mod comparison;
mod ordering;

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::topic::Record;
use ordering::{concerning, depends_on_order, is_behind_many, is_displaced, is_one_of_many};

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
    /// Of timeouts only. Activity may be read before a logout that it followed, or after one that
    /// it preceded.
    pub last_activity: Option<i64>,
    pub ended_at: i64,
    /// JSON, like the attributes.
    pub user: String,
    /// Of timeouts only, for the same reason.
    pub attributes: String,
    pub event_id: Uuid,
}

/// What has to come out of a log.
#[derive(Debug, Default)]
pub struct Expected {
    pub endings: Vec<Ending>,
    /// Sessions whose endings the log does not determine: they depend on the moment, or on the order in
    /// which events were read.
    pub doubtful: BTreeSet<String>,
    /// Those whose events reached the log so late that it depends on the moment whether they still counted.
    pub late: BTreeSet<String>,
    /// Those whose events are further out of order than the allowed lateness, with the times of their
    /// activity. No such session may end early, either.
    pub displaced: BTreeMap<String, Vec<i64>>,
    /// The log, for messages: partition, offset, timestamp, value.
    pub log: Vec<String>,
}

/// A topic of session events, and everything that is in it.
#[derive(Debug)]
pub struct Log {
    pub topic: String,
    /// Whether the records' timestamps are the brokers'.
    pub append_time: bool,
    /// Ordered by partition and offset.
    pub records: Vec<Record>,
    /// The sessions of which events were on the wrong partition, beside events of many sessions that do not
    /// reach the session there.
    pub misrouted: BTreeSet<String>,
    /// When events that ingest has written reached its source, by partition and offset: no tracker may go
    /// on past that time without them.
    pub upstream: BTreeMap<(i32, i64), i64>,
}

/// Reads a whole log after which nothing more happens: sorts the events of each session by their times
/// and folds them, those that end a session last.
pub fn expected(log: &Log, limits: Limits) -> Expected {
    let mut events: Vec<Event> = Vec::new();
    for (place, record) in log.records.iter().enumerate() {
        events.push(Event::new(place, record, log));
    }
    events.sort_by_key(|event| (event.at, event.reason.is_some()));
    let sessions: BTreeSet<&str> = events
        .iter()
        .filter_map(|one| one.session.as_deref())
        .collect();
    let mut expected = Expected {
        log: log.records.iter().map(Record::line).collect(),
        ..Expected::default()
    };
    for session in sessions {
        let events = concerning(&events, session);
        let is_misrouted = log.misrouted.contains(session);
        if depends_on_order(&events, limits, is_misrouted) {
            expected.doubtful.insert(session.to_owned());
        }
        if is_behind_many(&events, limits) {
            expected.doubtful.insert(session.to_owned());
        } else if is_displaced(&events, limits) {
            let active = events.iter().filter(|event| event.reason.is_none());
            let times = active.map(|event| event.at).collect();
            expected.displaced.insert(session.to_owned(), times);
        }
        let mut fold = Fold {
            session,
            limits,
            live: None,
            ended: None,
            expected: &mut expected,
        };
        events.iter().for_each(|event| fold.read(event));
        fold.time_out(i64::MAX);
    }
    expected.doubtful.extend(expected.late.iter().cloned());
    expected.doubtful.extend(expected.displaced.keys().cloned());
    expected.endings.sort();
    expected
}

/// A terminal event as it was read from its topic, with all of its fields.
pub fn parse(record: &Record) -> Ending {
    let json = record.json();
    let time = |name: &str| json[name].as_str().map(millis);
    let reason = json["reason"].as_str().expect("a reason");
    Ending {
        session: json["session_id"].as_str().expect("a session").to_owned(),
        reason: reason.to_owned(),
        started_at: time("started_at"),
        last_activity: time("last_activity").filter(|_| is_timeout(reason)),
        ended_at: time("ended_at").expect("an end"),
        user: json["user_id"].to_string(),
        attributes: if is_timeout(reason) {
            json["attributes"].to_string()
        } else {
            String::new()
        },
        event_id: json["event_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id"),
    }
}

/// The id of the ending of the session that began at `start`; that ended then, if nothing began.
pub fn event_id(session: &str, start: i64, reason: &str) -> Uuid {
    let name = format!("{reason}/{start}/{session}");
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

/// A record that has been read.
struct Event {
    partition: i32,
    /// Its place in the log; within a partition, in the order of reading.
    place: usize,
    /// `None` if it concerns many sessions.
    session: Option<String>,
    at: i64,
    /// When the brokers appended it, if that is known.
    appended: Option<i64>,
    /// When they appended it to the topic from which it came, if that is known.
    known: Option<i64>,
    /// The reason of the endings that it causes.
    reason: Option<&'static str>,
    json: Value,
}

impl Event {
    fn new(place: usize, record: &Record, log: &Log) -> Self {
        let json = record.json();
        let appended = log.append_time.then_some(record.timestamp);
        let upstream = log.upstream.get(&(record.partition, record.offset));
        Self {
            partition: record.partition,
            place,
            session: json["session_id"].as_str().map(str::to_owned),
            at: time_of(&json),
            appended,
            known: upstream.copied().or(appended),
            reason: match json["event"].as_str() {
                Some("logout") => Some("logout"),
                Some("revoke") => Some("revoked"),
                Some("rotated") => Some("rotated"),
                _ => None,
            },
            json,
        }
    }
}

/// One session id in the course of time.
struct Fold<'a> {
    session: &'a str,
    limits: Limits,
    live: Option<Live>,
    ended: Option<Ended>,
    expected: &'a mut Expected,
}

/// The latest ending.
struct Ended {
    by_timeout: bool,
    at: i64,
    user: Value,
    attributes: Value,
}

struct Live {
    user: Value,
    started_at: i64,
    authenticated_at: i64,
    last_activity: i64,
    attributes: Value,
}

/// Activity so soon after a logout was under way; the tracker's default.
const END_GRACE: i64 = 30_000;

impl Fold<'_> {
    fn read(&mut self, event: &Event) {
        self.time_out(event.at);
        let own = &event.json;
        match (&event.session, event.reason) {
            (None, Some(reason)) => {
                let is_meant = |user: &Value, attributes: &Value| {
                    is_one_of_many(own, self.session, user, attributes)
                };
                let (live, ended) = (self.live.as_ref(), self.ended.as_ref());
                if live.is_some_and(|live| is_meant(&live.user, &live.attributes)) {
                    self.doubt(event);
                    self.end(reason, event.at);
                } else if ended.is_some_and(|ended| is_meant(&ended.user, &ended.attributes)) {
                    self.doubt_first_end(event);
                }
            }
            (Some(_), Some(reason)) => {
                self.doubt(event);
                if self.live.is_some() {
                    self.end(reason, event.at);
                } else if self.ended.is_none() {
                    self.end_unknown(event, reason);
                } else {
                    self.doubt_first_end(event);
                }
            }
            (_, None) => self.act(event),
        }
    }

    fn act(&mut self, event: &Event) {
        self.doubt(event);
        let own = &event.json;
        let is_login = own["event"] == "login";
        let under_way = |ended: &Ended| !ended.by_timeout && event.at <= ended.at + END_GRACE;
        match &mut self.live {
            Some(live) => {
                live.last_activity = event.at;
                if is_login {
                    live.authenticated_at = event.at;
                    live.user = own["user_id"].clone();
                }
                if own["attributes"].is_object() {
                    live.attributes = attributes(own);
                }
            }
            None if !is_login && self.ended.as_ref().is_some_and(under_way) => {}
            None => {
                self.live = Some(Live {
                    user: own["user_id"].clone(),
                    started_at: event.at,
                    authenticated_at: event.at,
                    last_activity: event.at,
                    attributes: attributes(own),
                });
            }
        }
    }

    /// Whether the tracker may have seen the session's deadline pass before the record came.
    fn doubt(&mut self, event: &Event) {
        const ROUNDING: i64 = 5;
        let deadline = match &self.live {
            Some(live) => self.deadline(live).0,
            None => {
                event.at
                    + self
                        .limits
                        .absolute
                        .unwrap_or(i64::MAX)
                        .min(self.limits.idle)
            }
        };
        let too_late = |appended| appended + ROUNDING >= deadline + self.limits.lateness;
        if event.known.is_some_and(too_late) {
            self.expected.late.insert(self.session.to_owned());
        }
    }

    /// Of two different ends within the lateness, the first that is read counts.
    fn doubt_first_end(&mut self, event: &Event) {
        let lateness = self.limits.lateness;
        let is_close = |ended: &Ended| {
            !ended.by_timeout && ended.at != event.at && event.at - ended.at <= lateness
        };
        if self.ended.as_ref().is_some_and(is_close) {
            self.expected.doubtful.insert(self.session.to_owned());
        }
    }

    /// Ends the session if its deadline is at or before `now`.
    fn time_out(&mut self, now: i64) {
        if let Some((deadline, reason)) = self.live.as_ref().map(|live| self.deadline(live))
            && deadline <= now
        {
            self.end(reason, deadline);
        }
    }

    fn end(&mut self, reason: &'static str, ended_at: i64) {
        let Some(live) = self.live.take() else { return };
        self.ended = Some(Ended {
            by_timeout: is_timeout(reason),
            at: ended_at,
            user: live.user.clone(),
            attributes: live.attributes.clone(),
        });
        self.expected.endings.push(Ending {
            event_id: event_id(self.session, live.started_at, reason),
            session: self.session.to_owned(),
            reason: reason.to_owned(),
            started_at: Some(live.started_at),
            last_activity: is_timeout(reason).then_some(live.last_activity),
            ended_at,
            user: live.user.to_string(),
            attributes: if is_timeout(reason) {
                live.attributes.to_string()
            } else {
                String::new()
            },
        });
    }

    fn end_unknown(&mut self, event: &Event, reason: &'static str) {
        self.ended = Some(Ended {
            by_timeout: false,
            at: event.at,
            user: event.json["user_id"].clone(),
            attributes: attributes(&event.json),
        });
        self.expected.endings.push(Ending {
            event_id: event_id(self.session, event.at, reason),
            session: self.session.to_owned(),
            reason: reason.to_owned(),
            started_at: None,
            last_activity: None,
            ended_at: event.at,
            user: event.json["user_id"].to_string(),
            attributes: String::new(),
        });
    }

    fn deadline(&self, live: &Live) -> (i64, &'static str) {
        let idle = live.last_activity + self.limits.idle;
        match self.limits.absolute {
            Some(absolute) if live.authenticated_at + absolute <= idle => {
                (live.authenticated_at + absolute, "absolute_timeout")
            }
            _ => (idle, "idle_timeout"),
        }
    }
}

fn is_timeout(reason: &str) -> bool {
    reason.ends_with("_timeout")
}

fn attributes(event: &Value) -> Value {
    match &event["attributes"] {
        Value::Null => json!({}),
        attributes => attributes.clone(),
    }
}
