//! What can be done from pages and by scripts.

use serde_json::{Value, json};

use super::{Console, SOON, activity};
use crate::eventually::eventually;
use crate::kafka::Kafka;
use crate::pipeline::installation::{Installation, SHORT};
use crate::topic::NewRecord;

const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];

/// A form of a page's, with what every form carries.
fn form(csrf: &str, pairs: &[(&str, &str)]) -> String {
    let mut form = format!("csrf={csrf}");
    for (name, value) in pairs {
        form += &format!("&{name}={value}");
    }
    form
}

#[test]
fn a_session_is_searched_shown_and_ended() {
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
    assert!(!page.contains("End now"), "nobody is logged in");

    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let page = console
        .client
        .send("GET", "/sessions?session=s", &login, "")
        .body;
    assert!(page.contains("End now"), "{page}");
    let end = form(&csrf, &[("what", "session"), ("id", "s")]);
    let done = console.client.post("/sessions/end", &login, &end);
    assert_eq!(done.header("location"), Some("/sessions?session=s&done=1"));
    assert_eq!(console.await_ending("s")["reason"], "revoked");
    let gone = console.client.json("/api/v1/sessions?session=s");
    assert_eq!(gone["sessions"], json!([]));
    assert_eq!(gone["endings"][0]["reason"], "revoked");
    let page = console.client.get("/sessions?session=s").body;
    assert!(page.contains("No such session lives") && page.contains("revoked"));
    // The other one of the same user lives on.
    let rest = console.client.json("/api/v1/sessions?user=joe");
    assert_eq!(rest["sessions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn redacted_searches_tell_no_ids_but_the_one_asked_for() {
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
    assert!(of_session.contains("End now"), "{of_session}");
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
    let letters = |path: &str, count: usize| {
        console.await_json(path, "dead letters", |body| {
            let letters = body["letters"].as_array()?;
            (letters.len() == count).then(|| letters.clone())
        })
    };
    let all = letters("/api/v1/dead-letters", 4);
    let reason = all[0]["reason"].as_str().expect("text");
    assert_eq!(
        letters("/api/v1/dead-letters?reason=missing_field", 1).len(),
        1
    );

    // Nobody without the token, and nothing without a confirmation.
    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let treat = "/dead-letters/process";
    let id = all[0]["id"].as_str().expect("text");
    let discard = [("how", "discard"), ("letter", id)];
    let order = form(&csrf, &discard);
    assert_eq!(console.client.post(treat, &[], &order).status, 401);
    let unsigned = form("", &discard);
    assert_eq!(console.client.post(treat, &login, &unsigned).status, 403);
    let shown = console.client.post(treat, &login, &order);
    assert_eq!(shown.status, 200);
    assert!(
        shown.body.contains("<b>1</b> dead letter "),
        "{}",
        shown.body
    );
    letters("/api/v1/dead-letters", 4);

    let confirmed = form(&csrf, &[discard[0], discard[1], ("confirmed", "true")]);
    let done = console.client.post(treat, &login, &confirmed);
    assert_eq!(done.status, 303, "{}", done.body);
    let left = letters("/api/v1/dead-letters", 3);
    assert!(left.iter().all(|letter| letter["id"] != id));

    let wish = json!({"all": true, "reason": [reason], "dry_run": true});
    let redrive = "/api/v1/dead-letters/redrive";
    let answer = console.api("POST", redrive, &wish);
    let planned: Value = serde_json::from_str(&answer.body).expect("JSON");
    let count = planned["planned"].as_array().map(Vec::len);
    assert_eq!((&planned["processed"], count), (&json!(0), Some(2)));
    let answer = console.api("POST", redrive, &json!({"all": true, "reason": [reason]}));
    let redriven: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(redriven["processed"], 2, "{redriven}");
    // Tried again, they die again, as new letters.
    eventually(SOON, "new letters", || {
        let letters = letters("/api/v1/dead-letters", 3);
        let before = |letter: &Value| left.iter().any(|old| old["id"] == letter["id"]);
        (letters.iter().filter(|letter| before(letter)).count() == 1).then_some(())
    });
    for (path, wish) in [
        (redrive, json!({})),
        (redrive, json!({"all": true, "letters": [id]})),
        (redrive, json!({"letters": ["somewhere"]})),
        (redrive, json!({"all": true, "kind": "other"})),
    ] {
        assert_eq!(console.api("POST", path, &wish).status, 400, "{wish}");
    }
    let unknown = console.api("POST", "/api/v1/dead-letters/burn", &json!({"all": true}));
    assert_eq!(unknown.status, 404);
    let audit = console.audit();
    let told =
        |action: &str, outcome: &str| audit.contains(&(action.to_owned(), outcome.to_owned()));
    assert!(told("discard", "refused") && told("discard", "done") && told("redrive", "done"));
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
    let pause = form(&csrf, &[("how", "pause"), place[0], place[1]]);
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
    assert_eq!(list["pauses"][0]["obeyed"], true);
    let notices = console.client.get("/dashboard").body;
    assert!(notices.contains("tracker partitions paused: 2;"));
    assert!(console.client.get("/consumers").body.contains("1 paused"));
    assert_eq!(tracker.readiness()["ok"], true);

    let wish = json!({"role": "tracker", "partition": 2});
    assert_eq!(console.api("DELETE", "/api/v1/pauses", &wish).status, 202);
    condition("live");
    for (wish, status) in [
        (json!({"role": "tracker", "partition": 99}), 400),
        (json!({"role": "console", "partition": 0}), 422),
    ] {
        let answer = console.api("POST", "/api/v1/pauses", &wish);
        assert_eq!(answer.status, status, "{wish}");
    }
    let audit = console.audit();
    assert!(audit.contains(&("pause".to_owned(), "done".to_owned())));
    assert!(audit.contains(&("resume".to_owned(), "done".to_owned())));
}
