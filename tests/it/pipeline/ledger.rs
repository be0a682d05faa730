//! Compares topics in files with the reference model; the tests in pods (`tests/cluster/`) write
//! the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use uuid::Uuid;

use crate::support::model::{self, Ending, Limits, Log, event_id, expected, time_of};
use crate::support::topic::Record;

const TOPIC: &str = "session_logs";
const REASONS: [&str; 4] = ["idle_timeout", "absolute_timeout", "logout", "revoked"];

/// Users of a policy that is edited while they are there; the reference model knows one policy.
const EDITED: &str = "edited-";
const ALLOWED_LATENESS: i64 = 5_000;

#[test]
#[ignore = "needs the topics of an installation in files; tests/cluster/e2e runs it"]
fn every_session_ended_exactly_once() {
    let events = read("SUNDOWN_E2E_EVENTS");
    let endings = read("SUNDOWN_E2E_ENDINGS");
    let idle: i64 = variable("SUNDOWN_E2E_IDLE")
        .parse()
        .expect("a number of seconds");
    let (edited, events): (Vec<_>, Vec<_>) = events.into_iter().partition(is_of_edited);
    let (ended_early, endings): (Vec<_>, Vec<_>) = endings.into_iter().partition(is_of_edited);

    let log = Log {
        topic: TOPIC.to_owned(),
        append_time: true,
        records: events,
        misrouted: BTreeSet::new(),
        upstream: BTreeMap::new(),
    };
    let limits = Limits {
        idle: idle * 1000,
        absolute: None,
        lateness: ALLOWED_LATENESS,
    };
    let expected = expected(&log, limits);
    let found: Vec<_> = endings.iter().map(model::parse).collect();
    println!(
        "{} events, {} endings, of them {} that may go either way",
        log.records.len(),
        found.len(),
        expected.doubtful.len()
    );
    assert!(!found.is_empty(), "nothing has ended");
    let ids: BTreeSet<_> = found.iter().map(|ending| &ending.event_id).collect();
    assert_eq!(ids.len(), found.len(), "an ending was written twice");
    expected.compare(found);

    assert_eq!(sessions(&ended_early), sessions(&edited));
    assert!(ended_early.iter().all(|ending| {
        let ending = ending.json();
        let policy = ending["policy"]["name"].as_str().unwrap_or_default();
        policy.ends_with("/edited") && ending["reason"] == "idle_timeout"
    }));
}

/// For policies whose edits have unknown times: does not check deadlines.
#[test]
#[ignore = "needs the topics of an installation in files; tests/cluster/page runs it"]
fn every_record_belongs_to_a_life_that_ended_once() {
    let mut endings: BTreeMap<Uuid, Ending> = BTreeMap::new();
    for ending in read("SUNDOWN_E2E_ENDINGS").iter().map(model::parse) {
        let twice = endings.insert(ending.event_id, ending);
        assert!(twice.is_none(), "an ending was written twice: {twice:?}");
    }
    let mut sessions: BTreeMap<(i32, String), Vec<Record>> = BTreeMap::new();
    for record in read("SUNDOWN_E2E_EVENTS") {
        let session = record.json()["session_id"].to_string();
        let records = sessions.entry((record.partition, session)).or_default();
        records.push(record);
    }
    let (count, all) = (sessions.len(), endings.len());
    println!("{all} endings of {count} sessions, some of which came back to life");
    assert!(all >= count, "sessions have not ended");
    for ((_partition, session), records) in sessions {
        let mut lives: Vec<(Ending, Vec<Value>)> = Vec::new();
        for record in records {
            if let Some(ending) = take_ending_of_start(&mut endings, &record) {
                lives.push((ending, Vec::new()));
            }
            let (_ending, events) = lives
                .last_mut()
                .unwrap_or_else(|| panic!("{session} starts with a record that had no effect"));
            events.push(record.json());
        }
        for (ending, events) in lives {
            fits(&ending, &events);
        }
    }
    assert!(
        endings.is_empty(),
        "of nothing that was written: {endings:?}"
    );
}

/// The ending of the session that started with this record, if one did.
fn take_ending_of_start(endings: &mut BTreeMap<Uuid, Ending>, record: &Record) -> Option<Ending> {
    let event = record.json();
    let session = event["session_id"].as_str().expect("a session");
    REASONS
        .iter()
        .find_map(|reason| endings.remove(&event_id(session, time_of(&event), reason)))
}

/// Whether an ending is of all of these records, but for logouts that came when it was over.
fn fits(ending: &Ending, events: &[Value]) {
    let had_an_effect =
        |event: &&Value| event["event"] != "logout" || time_of(event) <= ending.ended_at;
    let times: Vec<_> = events.iter().filter(had_an_effect).map(time_of).collect();
    if let "logout" | "revoked" = ending.reason.as_str() {
        assert_eq!(
            times.last(),
            Some(&ending.ended_at),
            "{ending:?}: {events:?}"
        );
        return;
    }
    let latest = times.iter().max().copied();
    assert_eq!(latest, ending.last_activity, "{ending:?}: {events:?}");
    let started = ending.started_at.expect("a start");
    assert!(times.contains(&started), "{ending:?}: {events:?}");
}

fn is_of_edited(record: &Record) -> bool {
    let user = &record.json()["user_id"];
    user.as_str().is_some_and(|user| user.starts_with(EDITED))
}

/// How many records each session has.
fn sessions(records: &[Record]) -> BTreeMap<String, usize> {
    let mut sessions = BTreeMap::new();
    for record in records {
        let session = record.json()["session_id"].to_string();
        *sessions.entry(session).or_default() += 1;
    }
    sessions
}

/// The records in the file that the variable names, a line each, as Kafka's console consumer prints
/// timestamp, partition, offset, key and value.
fn read(name: &str) -> Vec<Record> {
    let path = variable(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut records: Vec<_> = text.lines().map(record).collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

fn record(line: &str) -> Record {
    let fields: Vec<_> = line.splitn(5, '\t').collect();
    let [timestamp, partition, offset, key, value] = fields[..] else {
        panic!("not a record: {line}");
    };
    let number = |field: &str| -> i64 {
        let (_name, number) = field.split_once(':').expect("name and number");
        number.parse().expect("a number")
    };
    Record {
        partition: i32::try_from(number(partition)).expect("a partition"),
        offset: number(offset),
        key: Some(key.into()),
        value: Some(value.into()),
        headers: Vec::new(),
        timestamp: number(timestamp),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run tests/cluster/e2e or page"))
}
