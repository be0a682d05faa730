//! What the pages show, and that the JSON says the same.

use serde_json::Value;

use super::{Console, HOSTILE, SOON, activity};
use crate::eventually::eventually;
use crate::kafka::Kafka;
use crate::pipeline::installation::{Installation, PARTITIONS, SHORT};
use crate::topic::NewRecord;

/// All pages, and the JSON behind them.
const PAGES: [&str; 9] = [
    "/dashboard",
    "/consumers",
    "/health",
    "/policies",
    "/endings",
    "/dead-letters",
    "/errors",
    "/topics",
    "/sessions",
];

/// As a page has to write it.
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
fn pages_show_what_goes_on_and_nothing_of_it_runs() {
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

    // Every partition has its tracker, which reports.
    let owner = console.await_json("/api/v1/health", "partitions that are live", |body| {
        let partitions = body["partitions"].as_array()?;
        let live = partitions.iter().filter(|one| one["condition"] == "live");
        (live.count() == usize::try_from(PARTITIONS).ok()?)
            .then(|| partitions[0]["owner"].as_str().map(str::to_owned))?
    });
    let ending = console.await_ending(HOSTILE);
    assert_eq!(ending["reason"], "idle_timeout");
    assert_eq!(ending["user_id"], HOSTILE);
    let letter = console.await_json("/api/v1/dead-letters", "a dead letter", |body| {
        body["letters"].get(0).cloned()
    });
    assert_eq!(letter["reason"], "malformed");
    assert_eq!(letter["record"]["value"], HOSTILE);

    // What the JSON says, the pages show, and no page has any of it as markup.
    assert!(console.client.get("/consumers").body.contains(&owner));
    let endings = console.client.get("/endings").body;
    assert!(endings.contains("idle_timeout"), "{endings}");
    assert!(endings.contains(&escaped(HOSTILE)), "{endings}");
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
    let partition = &letter["record"]["partition"];
    assert_is_safe(&console, &format!("/topics/{logs}/{partition}"));
    let dlq = letter["record"]["topic"].as_str().expect("a topic");
    assert_is_safe(&console, &format!("/topics/{dlq}/{partition}"));
    tracker.stop();
    console.await_json("/api/v1/consumers", "the tracker's last word", |body| {
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
fn an_open_page_gets_what_is_new() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let console = Console::start(&installation, &[]);
    let mut lines = console.client.follow("/endings");
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
        (&state["form"], &state["key"]),
        (&"checkpoint".into(), &session.into())
    );
    let value: Value = serde_json::from_str(state["value"].as_str().expect("text")).expect("JSON");
    assert_eq!(value["user_id"], "joe");

    for (path, status) in [
        ("/topics/__consumer_offsets/0".to_owned(), 404),
        (format!("/topics/{logs}/99"), 404),
        (format!("/topics/{logs}/1?offset=soon"), 400),
        (format!("/topics/{logs}/1?count=100000"), 400),
    ] {
        assert_eq!(console.client.get(&path).status, status, "{path}");
    }
}
