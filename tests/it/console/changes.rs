//! Changes from pages and scripts: revocations, redrives, pauses.

use serde_json::{Value, json};

use super::{Console, SOON, activity};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];

/// A form with its CSRF token.
fn form(csrf: &str, pairs: &[(&str, &str)]) -> String {
    let mut form = format!("csrf={csrf}");
    for (name, value) in pairs {
        form += &format!("&{name}={value}");
    }
    form
}

#[test]
fn a_session_is_found_and_revoked() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = Console::with_token(&installation, &[]);
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, [activity("s", "joe"), activity("t", "joe")]);
    let both = console.await_json("/api/v1/sessions?user=joe", "both sessions", |body| {
        let sessions = body["sessions"].as_array()?;
        (sessions.len() == 2 && body["gaps"] == json!([])).then(|| sessions.clone())
    });
    assert!(both.iter().all(|one| one["user_id"] == "joe"));
    let one = console.client.json("/api/v1/sessions?session=s");
    assert_eq!(one["sessions"][0]["reason"], "idle_timeout");
    assert_eq!(one["sessions"][0]["overdue"], Value::Null);
    assert_eq!(console.client.get("/api/v1/sessions").status, 400);
    let page = console.client.get("/sessions?session=s").body;
    assert!(page.contains("1h after its last activity"), "{page}");
    assert!(!page.contains("End session"), "{page}");

    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let page = console
        .client
        .send("GET", "/sessions?session=s", &login, "")
        .body;
    assert!(page.contains("End session"), "{page}");
    let end = form(&csrf, &[("target", "session"), ("id", "s")]);
    let done = console.client.post("/sessions/end", &login, &end);
    assert_eq!(done.header("location"), Some("/sessions?session=s&done=1"));
    assert_eq!(console.await_terminal_event("s")["reason"], "revoked");
    let gone = console.client.json("/api/v1/sessions?session=s");
    assert_eq!(gone["sessions"], json!([]));
    assert_eq!(gone["terminal_events"][0]["reason"], "revoked");
    let page = console.client.get("/sessions?session=s").body;
    assert!(page.contains("The session ended") && page.contains("revoked"));
    assert_eq!(gone["ended"]["reason"], "revoked");
    assert_eq!(
        (&one["state"], &gone["state"]),
        (&json!("live"), &json!("ended"))
    );
    // The other session of the user stays live.
    let rest = console.client.json("/api/v1/sessions?user=joe");
    assert_eq!(rest["sessions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_revocation_by_attributes_shows_the_number_before_it_is_confirmed() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = Console::with_token(&installation, &[]);
    let with = |session: &str, tenant: &str| {
        let event = json!({
            "user_id": session, "session_id": session, "attributes": {"tenant": tenant},
        });
        NewRecord::new(session, event.to_string())
    };
    let logs = installation.session_logs();
    let records = [with("s", "acme"), with("t", "acme"), with("u", "globex")];
    installation.kafka.produce(&logs, records);
    let path = "/api/v1/sessions?attributes=tenant%3Dacme";
    console.await_json(path, "both sessions", |body| {
        (body["count"] == 2 && body["gaps"] == json!([])).then_some(())
    });
    let revoke = |request: Value| console.api("POST", "/api/v1/revocations", &request);
    let unconfirmed = revoke(json!({"match": {}}));
    assert_eq!(unconfirmed.status, 409);
    assert!(
        unconfirmed.body.contains("3 live sessions"),
        "{}",
        unconfirmed.body
    );

    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let page = console
        .client
        .send("GET", "/sessions?attributes=tenant%3Dacme", &login, "")
        .body;
    assert!(page.contains("Yes, end 2 sessions"), "{page}");
    let attributes = [
        ("target", "attributes"),
        ("id", "tenant%3Dacme"),
        ("note", "contract+ended"),
    ];
    let end = form(&csrf, &attributes);
    assert_eq!(
        console.client.post("/sessions/end", &login, &end).status,
        303
    );
    for session in ["s", "t"] {
        assert_eq!(console.await_terminal_event(session)["reason"], "revoked");
    }
    for ending in installation.read("expired_sessions") {
        let initiator = json!({"by": "console", "note": "contract ended"});
        assert_eq!(ending.json()["initiator"], initiator);
    }
    console.await_json(
        "/api/v1/sessions?attributes=*",
        "the other session",
        |body| (body["count"] == 1).then_some(()),
    );
    let all = revoke(json!({"match": {}, "confirm": true, "by": "ann", "note": "breach"}));
    assert_eq!(all.status, 202);
    assert_eq!(console.await_terminal_event("u")["reason"], "revoked");
    let endings = installation.read("expired_sessions");
    let initiators = endings
        .iter()
        .map(|ending| ending.json()["initiator"].clone());
    let breach = json!({"by": "ann", "note": "breach"});
    assert_eq!(initiators.filter(|one| *one == breach).count(), 1);
    let unknown = console.client.json("/api/v1/sessions?session=unknown");
    assert_eq!(unknown["state"], "unknown");
}

#[test]
fn a_revocation_by_attributes_needs_a_reason() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = Console::with_token(&installation, &[]);
    for note in [json!(null), json!(" ")] {
        let request = json!({"match": {}, "confirm": true, "note": note});
        let refused = console.api("POST", "/api/v1/revocations", &request);
        assert_eq!(refused.status, 400);
        assert!(
            refused.body.contains("a reason is required"),
            "{}",
            refused.body
        );
    }
}

#[test]
fn redacted_lookups_show_only_the_requested_id() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = Console::with_token(&installation, &["--redact"]);
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, [activity("the-session", "joe")]);
    console.await_json("/api/v1/sessions?user=joe", "the session", |body| {
        body["sessions"].get(0).map(|one| {
            assert!(!one.to_string().contains("the-session"), "{one}");
            assert!(!one.to_string().contains("alert"), "{one}");
        })
    });
    let (cookie, _) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let of_user = console
        .client
        .send("GET", "/sessions?user=joe", &login, "")
        .body;
    assert!(!of_user.contains("the-session"), "{of_user}");
    let of_session = console
        .client
        .send("GET", "/sessions?session=the-session", &login, "")
        .body;
    assert!(of_session.contains("End session"), "{of_session}");
}

#[test]
fn dead_letters_are_redriven_and_discarded() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = Console::with_token(&installation, &[]);
    let logs = installation.session_logs();
    let bad = |value: &str| NewRecord::new("key", value);
    let records = [bad("1"), bad("{}"), bad("2"), bad("3")];
    installation.kafka.produce(&logs, records);
    let dead_letters = |path: &str, count: usize| {
        console.await_json(path, "dead letters", |body| {
            let dead_letters = body["dead_letters"].as_array()?;
            (dead_letters.len() == count).then(|| dead_letters.clone())
        })
    };
    let all = dead_letters("/api/v1/dead-letters", 4);
    let reason = all[0]["reason"].as_str().expect("text");
    assert_eq!(
        dead_letters("/api/v1/dead-letters?reason=missing_field", 1).len(),
        1
    );

    // The form requires the token and a confirmation.
    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let process = "/dead-letters/process";
    let id = all[0]["id"].as_str().expect("text");
    let discard = [("operation", "discard"), ("id", id)];
    let unconfirmed = form(&csrf, &discard);
    assert_eq!(console.client.post(process, &[], &unconfirmed).status, 401);
    let unsigned = form("", &discard);
    assert_eq!(console.client.post(process, &login, &unsigned).status, 403);
    let confirmation = console.client.post(process, &login, &unconfirmed);
    assert_eq!(confirmation.status, 200);
    assert!(
        confirmation.body.contains("<b>1</b> dead letter "),
        "{}",
        confirmation.body
    );
    dead_letters("/api/v1/dead-letters", 4);

    let confirmed = form(&csrf, &[discard[0], discard[1], ("confirmed", "true")]);
    let done = console.client.post(process, &login, &confirmed);
    assert_eq!(done.status, 303, "{}", done.body);
    let remaining = dead_letters("/api/v1/dead-letters", 3);
    assert!(remaining.iter().all(|one| one["id"] != id));

    let request = json!({"all": true, "reason": [reason], "dry_run": true});
    let redrive = "/api/v1/dead-letters/redrive";
    let response = console.api("POST", redrive, &request);
    let planned: Value = serde_json::from_str(&response.body).expect("JSON");
    let count = planned["planned"].as_array().map(Vec::len);
    assert_eq!((&planned["processed"], count), (&json!(0), Some(2)));
    let response = console.api("POST", redrive, &json!({"all": true, "reason": [reason]}));
    let redriven: Value = serde_json::from_str(&response.body).expect("JSON");
    assert_eq!(redriven["processed"], 2, "{redriven}");
    // The redriven events are rejected again, as new dead letters.
    eventually(SOON, "new dead letters", || {
        let current = dead_letters("/api/v1/dead-letters", 3);
        let is_old = |one: &Value| remaining.iter().any(|old| old["id"] == one["id"]);
        (current.iter().filter(|one| is_old(one)).count() == 1).then_some(())
    });
    for (path, request) in [
        (redrive, json!({})),
        (redrive, json!({"all": true, "ids": [id]})),
        (redrive, json!({"ids": ["somewhere"]})),
        (redrive, json!({"all": true, "kind": "other"})),
    ] {
        assert_eq!(console.api("POST", path, &request).status, 400, "{request}");
    }
    let unknown = console.api("POST", "/api/v1/dead-letters/burn", &json!({"all": true}));
    assert_eq!(unknown.status, 404);
    let audit = console.audit();
    let has =
        |action: &str, outcome: &str| audit.contains(&(action.to_owned(), outcome.to_owned()));
    assert!(has("discard", "refused") && has("discard", "done") && has("redrive", "done"));
}

#[test]
fn partitions_are_paused_and_resumed() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = Console::with_token(&installation, &[]);
    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let place = [("role", "tracker"), ("partition", "2")];
    let pause = form(&csrf, &[("operation", "pause"), place[0], place[1]]);
    assert_eq!(
        console.client.post("/health/pauses", &[], &pause).status,
        401
    );
    let done = console.client.post("/health/pauses", &login, &pause);
    assert_eq!(done.header("location"), Some("/health#pauses"));
    let condition = |wanted: &str| {
        console.await_json("/api/v1/health", wanted, |body| {
            (body["partitions"][2]["condition"] == wanted).then_some(())
        });
    };
    condition("paused");
    let list = console.client.json("/api/v1/pauses");
    assert_eq!(list["pauses"][0]["partition"], 2);
    assert_eq!(list["pauses"][0]["applied"], true);
    let notices = console.client.get("/dashboard").body;
    assert!(notices.contains("tracker partitions paused: 2;"));
    assert!(console.client.get("/consumers").body.contains("1 paused"));
    assert_eq!(tracker.readiness()["ok"], true);

    let request = json!({"role": "tracker", "partition": 2});
    assert_eq!(
        console.api("DELETE", "/api/v1/pauses", &request).status,
        202
    );
    condition("live");
    for (request, status) in [
        (json!({"role": "tracker", "partition": 99}), 400),
        (json!({"role": "console", "partition": 0}), 422),
    ] {
        let response = console.api("POST", "/api/v1/pauses", &request);
        assert_eq!(response.status, status, "{request}");
    }
    let audit = console.audit();
    assert!(audit.contains(&("pause".to_owned(), "done".to_owned())));
    assert!(audit.contains(&("resume".to_owned(), "done".to_owned())));
}
