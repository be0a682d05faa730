//! The content of the pages and of the JSON API.

use std::time::Duration;

use serde_json::Value;

use super::{Console, HOSTILE, SOON, activity};
use crate::support::installation::{Installation, PARTITIONS, SHORT};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// Paths of all pages in the menu.
const PAGES: [&str; 10] = [
    "/dashboard",
    "/consumers",
    "/health",
    "/policies",
    "/sources",
    "/terminal-events",
    "/dead-letters",
    "/errors",
    "/topics",
    "/sessions",
];

/// Escapes a text as pages have to.
fn escaped(text: &str) -> String {
    let escapes = [
        ('&', "&#38;"),
        ('<', "&#60;"),
        ('>', "&#62;"),
        ('"', "&#34;"),
        ('\'', "&#39;"),
    ];
    let mut html = String::new();
    for character in text.chars() {
        match escapes.iter().find(|(found, _)| *found == character) {
            Some((_, escape)) => html += escape,
            None => html.push(character),
        }
    }
    html
}

#[test]
fn pages_show_the_state_and_escape_it() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let console = Console::start(&installation, &[]);
    let logs = installation.session_logs();
    let bad = NewRecord {
        headers: vec![(HOSTILE.into(), HOSTILE.into())],
        ..NewRecord::new(HOSTILE, HOSTILE)
    };
    installation
        .kafka
        .produce(&logs, [activity(HOSTILE, HOSTILE), bad]);

    // All partitions have a tracker that reports.
    let owner = console.await_json("/api/v1/health", "partitions that are live", |body| {
        let partitions = body["partitions"].as_array()?;
        let live = partitions.iter().filter(|one| one["condition"] == "live");
        (live.count() == usize::try_from(PARTITIONS).ok()?)
            .then(|| partitions[0]["owner"].as_str().map(str::to_owned))?
    });
    let event = console.await_terminal_event(HOSTILE);
    assert_eq!(event["reason"], "idle_timeout");
    assert_eq!(event["user_id"], HOSTILE);
    let dead_letter = console.await_json("/api/v1/dead-letters", "a dead letter", |body| {
        body["dead_letters"].get(0).cloned()
    });
    assert_eq!(dead_letter["reason"], "malformed");
    assert_eq!(dead_letter["record"]["value"], HOSTILE);

    // The pages show the same as the JSON, escaped.
    assert!(console.client.get("/consumers").body.contains(&owner));
    let page = console.client.get("/terminal-events").body;
    assert!(page.contains("idle_timeout"), "{page}");
    assert!(page.contains(&escaped(HOSTILE)), "{page}");
    assert!(
        console
            .client
            .get("/dead-letters")
            .body
            .contains(&escaped(HOSTILE))
    );
    for page in PAGES {
        assert_is_safe(&console, page);
    }
    let partition = &dead_letter["record"]["partition"];
    assert_is_safe(&console, &format!("/topics/{logs}/{partition}"));
    let dlq = dead_letter["record"]["topic"].as_str().expect("a topic");
    assert_is_safe(&console, &format!("/topics/{dlq}/{partition}"));
    tracker.stop();
    console.await_json("/api/v1/consumers", "the tracker's last report", |body| {
        let processes = body["processes"].as_array()?.iter();
        let mut stopped = processes.filter(|one| one["status"] == "stopped");
        stopped.next().map(|one| assert_eq!(one["id"], owner))
    });
}

fn assert_is_safe(console: &Console, path: &str) {
    let page = console.client.get(path);
    assert_eq!(page.status, 200, "{path}");
    for bad in ["<script>", "<img", "onerror=\"", "style=", "javascript:"] {
        assert!(!page.body.contains(bad), "{path}: {bad}");
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
}

#[test]
fn an_open_page_receives_updates() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let console = Console::start(&installation, &[]);
    let mut lines = console.client.event_stream("/terminal-events");
    let session = "seen by an open page";
    installation
        .kafka
        .produce(&installation.session_logs(), [activity(session, "joe")]);
    let line = lines.find(|line| line.starts_with("data:") && line.contains(session));
    assert!(line.is_some());
}

#[test]
fn topics_are_read_by_offset_and_by_time_and_checkpoints_are_decoded() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&["--idle-timeout", "1h"]);
    tracker.await_ready();
    let console = Console::start(&installation, &[]);
    let session = installation.key_on(1);
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, vec![activity(&session, "joe"); 3]);
    let records = |path: &str| {
        let body = console.client.json(path);
        body["records"].as_array().cloned().expect("records")
    };
    let all = records(&format!("/api/v1/topics/{logs}/1?offset=0"));
    assert_eq!(all.len(), 3);
    assert_eq!(
        records(&format!("/api/v1/topics/{logs}/1?offset=1&count=1")),
        all[1..2]
    );
    let at = all[0]["timestamp"].as_str().expect("a time");
    assert_eq!(
        records(&format!("/api/v1/topics/{logs}/1?at={at}")).len(),
        3
    );
    assert_eq!(
        records(&format!("/api/v1/topics/{logs}/1?at=2100-01-01T00:00:00Z")).len(),
        0
    );

    let checkpoints = installation.topic("sundown.checkpoint");
    let state = eventually(SOON, "a checkpoint record", || {
        records(&format!("/api/v1/topics/{checkpoints}/1")).pop()
    });
    assert_eq!(
        (&state["format"], &state["key"]),
        (&"checkpoint".into(), &session.into())
    );
    let value: Value = serde_json::from_str(state["value"].as_str().expect("text")).expect("JSON");
    assert_eq!(value["live"]["user_id"], "joe");

    for (path, status) in [
        ("/topics/__consumer_offsets/0".to_owned(), 404),
        (format!("/topics/{logs}/99"), 404),
        (format!("/topics/{logs}/1?offset=soon"), 400),
        (format!("/topics/{logs}/1?count=100000"), 400),
    ] {
        assert_eq!(console.client.get(&path).status, status, "{path}");
    }
}

#[test]
fn without_kafka_a_console_is_not_ready() {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, SHORT);
    let launch = installation.sundown(&["console", "--listen", "127.0.0.1:0"]);
    let console = RoleProcess::start(launch);
    console.await_ready();
    kafka.kill(1);
    // A minute of grace, and the time of the requests.
    let timeout = Duration::from_secs(60) + SOON;
    eventually(timeout, "the console to miss Kafka", || {
        let reason = console.readiness()["reasons"]["kafka"].clone();
        reason
            .as_str()
            .is_some_and(|reason| reason.contains("no broker answers"))
            .then_some(())
    });
    kafka.start(1);
    console.await_ready();
    console.stop();
}
