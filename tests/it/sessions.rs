//! Queries of live sessions by scripts and by `sundown sessions`.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use sundown::clock::Clock;
use tempfile::NamedTempFile;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::Stream;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const TOKEN: &str = "a token of the tests";
const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];

/// A session of a user, active just now.
fn activity(session: &str, user: &Value) -> NewRecord {
    let event = json!({
        "user_id": user,
        "session_id": session,
        "activity_timestamp": Clock::default().wall().as_millis(),
        "attributes": {"tenant": "acme"},
    });
    NewRecord::new(session, event.to_string())
}

/// What `sundown sessions …` prints, and how it ends.
fn sessions(installation: &Installation<'_>, args: &[&str]) -> (Option<i32>, String, String) {
    let args = [&["sessions"], args].concat();
    let mut process = installation.sundown(&args).start();
    let code = process.wait(SOON).code();
    (
        code,
        process.text(Stream::Stdout),
        process.text(Stream::Stderr),
    )
}

fn json_of(installation: &Installation<'_>, args: &[&str]) -> Option<Value> {
    let (code, stdout, _) = sessions(installation, &[args, &["-o", "json"]].concat());
    (code == Some(0)).then(|| serde_json::from_str(&stdout).expect("JSON"))
}

/// Status and body of an answer of a tracker's admin port.
fn ask(tracker: &RoleProcess, path: &str, headers: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(tracker.admin()).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.parse().expect("a number"), body)
}

#[test]
fn a_session_is_found_by_its_id_and_its_user_wherever_it_is() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let trackers = [installation.tracker(LONG), installation.tracker(LONG)];
    let ids: Vec<String> = (0..PARTITIONS)
        .map(|partition| installation.key_on(partition))
        .collect();
    let joe = json!(7);
    let records = ids.iter().map(|id| activity(id, &joe));
    // Under another key than its id, and of another user than the number 7.
    let other = NewRecord {
        key: Some(b"7".to_vec()),
        ..activity("a/../b ?é", &json!("7"))
    };
    let records = records.chain([other]).collect::<Vec<_>>();
    installation
        .kafka
        .produce(&installation.session_logs(), records);
    for tracker in &trackers {
        tracker.await_ready();
    }

    let list = eventually(SOON, "all sessions of the user", || {
        let list = json_of(&installation, &["list", "--user", "7"])?;
        let found = list["sessions"].as_array()?.len();
        (found == ids.len() && list["gaps"] == json!([])).then_some(list)
    });
    for (partition, id) in ids.iter().enumerate() {
        let one = live(&installation, id);
        assert_eq!(one["partition"], partition);
        assert_eq!((&one["user_id"], &one["session_id"]), (&joe, &json!(id)));
        assert_eq!(one["reason"], "idle_timeout");
        assert_eq!(one["why"], "1h after its last activity");
        assert_eq!(one["policy"], json!({"name": "built-in", "generation": 0}));
        assert_eq!(one["attributes"], json!({"tenant": "acme"}));
        assert!(one["deadline"].as_str() > one["last_activity"].as_str());
        let listed = list["sessions"].as_array().expect("a list");
        assert!(listed.contains(&one));
    }
    let one = live(&installation, "a/../b ?é");
    assert_eq!(one["user_id"], "7");
    let strings = json_of(&installation, &["list", "--user", "7", "--string"]);
    assert_eq!(strings.expect("one")["sessions"], json!([one]));
    let (code, table, _) = sessions(&installation, &["get", &ids[0]]);
    assert_eq!(code, Some(0));
    assert!(table.starts_with("SESSION") && table.contains("built-in@0"));
    let (_, yaml, _) = sessions(&installation, &["get", &ids[0], "-o", "yaml"]);
    assert!(yaml.contains("user_id: 7"), "{yaml}");

    let (code, _, stderr) = sessions(&installation, &["get", "unknown's"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("no session 'unknown's' is known"),
        "{stderr}"
    );
}

/// What `sundown sessions get` prints of a live session, without its state.
fn live(installation: &Installation<'_>, id: &str) -> Value {
    let mut session = json_of(installation, &["get", id]).expect("it is known");
    let state = session.as_object_mut().expect("an object").remove("state");
    assert_eq!(state, Some(json!("live")));
    session
}

#[test]
fn an_ended_session_is_found_with_its_reason_and_counts_are_of_live_ones() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let logs = installation.session_logs();
    let ids: Vec<String> = (0..PARTITIONS)
        .map(|partition| installation.key_on(partition))
        .collect();
    let records = ids.iter().map(|id| activity(id, &json!(7)));
    installation
        .kafka
        .produce(&logs, records.collect::<Vec<_>>());
    let count = |query: &str| {
        let (_, body) = ask(
            &tracker,
            &format!("/sessions?count=true&{query}"),
            "host: localhost\r\n",
        );
        body["count"].as_u64()
    };
    eventually(SOON, "all sessions", || {
        (count("user=7") == Some(3)).then_some(())
    });
    assert_eq!(count(&format!("user=7&except={}", ids[0])), Some(2));
    assert_eq!(count("user=7&string=true"), Some(0));
    assert_eq!(count("attributes=%7B%22tenant%22:%22acme%22%7D"), Some(3));
    assert_eq!(count("attributes=%7B%22tenant%22:%22other%22%7D"), Some(0));
    assert_eq!(count("attributes=%7B%7D"), Some(3));
    let (status, _) = ask(
        &tracker,
        "/sessions?attributes=%7B%7D",
        "host: localhost\r\n",
    );
    assert_eq!(status, 400, "a list by attributes");

    installation.run(&["logout", "--session", &ids[1]]);
    let ended = eventually(SOON, "the end of the session", || {
        let session = json_of(&installation, &["get", &ids[1]])?;
        (session["state"] == "ended").then_some(session)
    });
    assert_eq!(ended["reason"], "logout");
    assert_eq!(ended["partition"], 1);
    assert!(
        ended["ended_at"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z')),
        "{ended}"
    );
    let (code, table, _) = sessions(&installation, &["get", &ids[1]]);
    assert_eq!(code, Some(0));
    assert!(
        table.contains("ended") && table.contains("logout"),
        "{table}"
    );
    assert_eq!(count("user=7"), Some(2));
    tracker.stop();
}

#[test]
fn sessions_are_not_shown_beyond_this_machine_without_the_token() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), TOKEN).expect("the file is written");
    let path = file.path().to_str().expect("UTF-8");
    let anywhere = ["--admin-listen", "0.0.0.0:0", "--admin-host", "127.0.0.1"];

    let open = installation.tracker(&[anywhere.as_slice(), LONG].concat());
    open.await_ready();
    let (status, body) = ask(&open, "/sessions?session=s", "host: localhost\r\n");
    assert_eq!(status, 403);
    let error = body["error"].as_str().expect("a reason");
    assert!(error.contains("--admin-token-file"), "{error}");
    let (code, _, stderr) = sessions(&installation, &["get", "s"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--admin-token-file"), "{stderr}");
    open.stop();

    let guarded =
        installation.tracker(&[anywhere.as_slice(), &["--admin-token-file", path], LONG].concat());
    guarded.await_ready();
    installation
        .kafka
        .produce(&installation.session_logs(), [activity("s", &json!(7))]);
    let wrong = "host: localhost\r\nauthorization: Bearer a token of the tests?\r\n";
    for headers in ["host: localhost\r\n", wrong] {
        assert_eq!(ask(&guarded, "/sessions?session=s", headers).0, 401);
    }
    let right = format!("host: elsewhere\r\nauthorization: Bearer {TOKEN}\r\n");
    for query in ["", "?session=s&user=7", "?session=s&surprise=%FF"] {
        let (status, _) = ask(&guarded, &format!("/sessions{query}"), &right);
        assert_eq!(
            status,
            if query.contains('%') { 200 } else { 400 },
            "{query}"
        );
    }
    let (code, _, stderr) = sessions(&installation, &["get", "s"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the tracker's token"), "{stderr}");
    eventually(SOON, "the session", || {
        json_of(&installation, &["get", "s", "--admin-token-file", path])
    });
}

#[test]
fn an_incomplete_search_does_not_report_a_session_as_missing() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let (code, _, stderr) = sessions(&installation, &["get", "s"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no tracker has reported"), "{stderr}");

    let mut tracker = installation.tracker(LONG);
    tracker.await_ready();
    tracker.process.sigkill();
    let (code, _, stderr) = sessions(&installation, &["list", "--user", "7"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("not every tracker responded"), "{stderr}");
    assert!(
        stderr.contains("cannot be reached at 127.0.0.1:"),
        "{stderr}"
    );
}
