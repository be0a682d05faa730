//! Session events as applications in the field write them.

use serde_json::{Value, json};
use sundown::clock::Clock;

use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, Record};
use crate::support::wait::eventually;

const SECOND: i64 = 1_000;
/// Longer than the activity in [`activity_counts_in_every_unit_of_time`] takes to be written.
const IDLE: Limits = Limits {
    idle: 20_000,
    absolute: None,
    lateness: 1_000,
};

fn started(installation: &Installation<'_>) -> RoleProcess {
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    tracker
}

fn now() -> i64 {
    Clock::default().wall().as_millis()
}

fn event(session: &Value, at: &Value, event: &str) -> Value {
    json!({"user_id": 7, "session_id": session, "activity_timestamp": at, "event": event})
}

/// Writes events under the ids of their sessions.
fn write(installation: &Installation<'_>, events: &[Value]) {
    let records = events.iter().map(|event| {
        let key = match &event["session_id"] {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        };
        NewRecord::new(key, event.to_string())
    });
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, records.collect::<Vec<_>>());
}

/// Waits for the terminal events of a session until there are as many.
fn endings(installation: &Installation<'_>, session: &str, count: usize) -> Vec<Value> {
    eventually(SOON, &format!("{count} endings of {session}"), || {
        let records = installation.read("expired_sessions");
        let endings = records.iter().map(Record::json);
        let endings: Vec<_> = endings.filter(|one| one["session_id"] == session).collect();
        (endings.len() >= count).then_some(endings)
    })
}

fn rfc3339(millis: i64) -> String {
    sundown::wire::time::format(sundown::session::Timestamp::from_millis(millis))
}

/// Writes a time in milliseconds as an application does.
type Literal = fn(i64) -> Value;

/// The user is active within the idle timeout all the time, in whatever unit the application counts.
#[test]
fn activity_counts_in_every_unit_of_time() {
    let installation = Installation::new(Kafka::shared(), IDLE);
    let tracker = started(&installation);
    let last = now() / SECOND * SECOND;
    let first = last - 15 * SECOND;
    let steps: Vec<i64> = (first..=last).step_by(5_000).collect();
    let units: [(&str, Literal); 7] = [
        ("seconds", |at| json!(at / SECOND)),
        ("digits", |at| json!((at / SECOND).to_string())),
        ("fraction", |at| json!(at as f64 / 1e3)),
        ("milliseconds", |at| json!(at)),
        ("microseconds", |at| json!(at * 1_000)),
        ("nanoseconds", |at| json!(at * 1_000_000)),
        ("offset", |at| {
            json!(rfc3339(at + 2 * 3_600_000).replace('Z', "+02:00"))
        }),
    ];
    let mut events = Vec::new();
    for (session, literal) in units {
        events.push(event(&json!(session), &json!(first), "login"));
        let later = steps[1..].iter().map(|at| literal(*at));
        events.extend(later.map(|at| event(&json!(session), &at, "activity")));
    }
    write(&installation, &events);
    installation.await_nothing_left();
    for (session, _) in units {
        let endings = endings(&installation, session, 1);
        assert_eq!(endings.len(), 1, "{session}: {endings:?}");
        assert_eq!(endings[0]["started_at"], rfc3339(first), "{session}");
        assert_eq!(endings[0]["last_activity"], rfc3339(last), "{session}");
        assert_eq!(endings[0]["reason"], "idle_timeout", "{session}");
    }
    assert_eq!(installation.read("session_logs.dlq"), []);
    assert_eq!(tracker.metric("sundown_tracker_late_events_total", ""), 0);
    tracker.stop();
}

/// A producer that stamps records with seconds puts them into January 1970.
#[test]
fn a_record_timestamp_in_seconds_does_not_count() {
    let installation = Installation::with_create_time(Kafka::shared(), SHORT);
    let tracker = started(&installation);
    let at = now();
    let record = NewRecord {
        timestamp: Some(at / SECOND),
        ..NewRecord::new("s", event(&json!("s"), &json!(at), "login").to_string())
    };
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, [record]);
    let endings = endings(&installation, "s", 1);
    assert_eq!(endings[0]["started_at"], rfc3339(at));
    assert_eq!(endings[0]["reason"], "idle_timeout");
    let dropped = |name| tracker.metric(name, "");
    assert_eq!(dropped("sundown_tracker_clamped_events_total"), 0);
    assert_eq!(dropped("sundown_tracker_late_events_total"), 0);
    assert_eq!(installation.read("session_logs.dlq"), []);
    tracker.stop();
}

#[test]
fn integer_session_ids_and_scalar_attributes_count() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = started(&installation);
    let mut login = event(&json!(4711), &json!(now()), "login");
    login["attributes"] = json!({"aal": 2, "remember": true, "email": null, "tenant": "acme"});
    let logout = event(&json!("4711"), &json!(now()), "logout");
    write(&installation, &[login, logout]);
    let endings = endings(&installation, "4711", 1);
    assert_eq!(endings[0]["reason"], "logout");
    assert_eq!(
        endings[0]["attributes"],
        json!({"aal": "2", "remember": "true", "tenant": "acme"})
    );
    assert_eq!(installation.read("session_logs.dlq"), []);
    assert_eq!(
        tracker.metric("sundown_tracker_dropped_attributes_total", ""),
        0
    );
    tracker.stop();
}

#[test]
fn attributes_beyond_the_limit_do_not_cost_the_session() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = started(&installation);
    let mut login = event(&json!("s"), &json!(now()), "login");
    login["attributes"] = json!({
        "tenant": "acme", "access_token": "x".repeat(1_321), "roles": ["admin"],
    });
    write(&installation, &[login.clone()]);
    let ended = endings(&installation, "s", 1);
    assert_eq!(ended[0]["attributes"], json!({"tenant": "acme"}));
    assert_eq!(installation.read("session_logs.dlq"), []);
    let dropped =
        |reason| tracker.await_metric("sundown_tracker_dropped_attributes_total", reason, 1);
    dropped("too_large");
    dropped("unusable");
    tracker.await_message("attributes dropped from an event");
    tracker.stop();

    let tracker = installation.tracker(&["--max-attributes", "2000"]);
    tracker.await_ready();
    login["session_id"] = json!("t");
    login["activity_timestamp"] = json!(now());
    write(&installation, &[login]);
    let ended = endings(&installation, "t", 1);
    assert_eq!(ended[0]["attributes"]["access_token"], "x".repeat(1_321));
    tracker.stop();
}

#[test]
fn dead_letters_name_known_formats_and_the_remedy() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = started(&installation);
    let plain = event(&json!("s"), &json!(now()), "login").to_string();
    let framed = [&[0, 0, 0, 0, 7], plain.as_bytes()].concat();
    // `gzip` of an empty file.
    let gzip = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
    .to_vec();
    let connect = json!({"schema": {"type": "struct"}, "payload": {"session_id": "s"}});
    let cloud_event = json!({
        "specversion": "1.0", "type": "login", "source": "/shop", "id": "1",
        "data": {"session_id": "s"},
    });
    let keycloak = json!({
        "time": now(), "type": "LOGIN", "realmId": "shop", "clientId": "web", "userId": "u",
        "sessionId": "s",
    });
    let values = [
        ("Confluent's wire format", framed),
        ("gzip", gzip),
        (
            "Kafka Connect's schema/payload envelope",
            connect.to_string().into_bytes(),
        ),
        (
            "a structured CloudEvent",
            cloud_event.to_string().into_bytes(),
        ),
        ("a Keycloak event", keycloak.to_string().into_bytes()),
    ];
    let records = values
        .iter()
        .map(|(name, value)| NewRecord::new(*name, value.clone()));
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, records.collect::<Vec<_>>());
    installation.await_caught_up();
    let letters = installation.read("session_logs.dlq");
    assert_eq!(letters.len(), values.len());
    for (name, value) in values {
        let letter = letters
            .iter()
            .find(|letter| letter.key.as_deref() == Some(name.as_bytes()));
        let letter = letter.unwrap_or_else(|| panic!("no dead letter of {name}"));
        assert_eq!(letter.value.as_ref(), Some(&value), "{name}");
        let error = letter.header("sundown-dlq-error").expect("an error");
        assert!(error.contains(&format!("looks like {name}")), "{error}");
        assert!(error.contains("configure a source for it"), "{error}");
    }
    tracker.stop();
}
