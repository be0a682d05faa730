//! Authentication, authorization and redaction.

use serde_json::{Value, json};
use sundown::console::security::attempts::MAX_WRONG_TOKENS;

use super::{Console, SOON, TOKEN, activity};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::process::{Launch, Stream};
use crate::support::topic::Record;
use crate::support::wait::{Deadline, eventually};

const END: &str = "/sessions/end";

#[test]
fn without_a_token_the_console_is_read_only() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = Console::start(&installation, &[]);
    assert_eq!(
        console.client.post(END, &[], "target=session&id=s").status,
        403
    );
    assert_eq!(console.client.post("/login", &[], "token=").status, 403);
    assert!(console.client.get("/sessions").body.contains("read-only"));
    assert!(installation.read("session_logs").is_empty());
}

#[test]
fn revocations_require_the_token_and_are_audited() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&["--idle-timeout", "1h", "--absolute-timeout", "2h"]);
    tracker.await_ready();
    let console = Console::with_token(&installation, &[]);
    let client = &console.client;
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, [activity("s", "joe"), activity("t", "ann")]);

    // Requests without a login or without the CSRF token are refused.
    assert_eq!(client.post(END, &[], "target=session&id=s").status, 401);
    let wrong = client.post("/login", &[], "token=not+the+token+at+all");
    assert_eq!(wrong.header("location"), Some("/login?wrong"));
    assert_eq!(wrong.header("set-cookie"), None);
    let right = client.post("/login", &[], &format!("token={}", TOKEN.replace(' ', "+")));
    let cookie = right.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let login = [("cookie", cookie.split(';').next().expect("a name"))];
    assert_eq!(client.post(END, &login, "target=session&id=s").status, 403);
    let elsewhere = [login[0], ("origin", "http://evil.example")];
    let page = client.send("GET", "/sessions", &login, "").body;
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    let (csrf, _) = rest.split_once('"').expect("its token");
    let form = format!("csrf={csrf}&target=session&id=s");
    assert_eq!(client.post(END, &elsewhere, &form).status, 403);
    let fetched = [login[0], ("sec-fetch-site", "cross-site")];
    assert_eq!(client.post(END, &fetched, &form).status, 403);

    assert_eq!(client.post(END, &login, &form).status, 303);
    assert_eq!(console.await_terminal_event("s")["reason"], "revoked");

    let json = ("content-type", "application/json");
    let bearer = format!("Bearer {TOKEN}");
    let revoke = |authorization: &str, body: &str| {
        let headers = [json, ("authorization", authorization)];
        client
            .send("POST", "/api/v1/revocations", &headers, body)
            .status
    };
    assert_eq!(revoke("Bearer wrong", r#"{"user_id": "ann"}"#), 401);
    assert_eq!(revoke(&bearer, "{}"), 400);
    assert_eq!(revoke(&bearer, r#"{"user_id": "ann"}"#), 202);
    assert_eq!(console.await_terminal_event("t")["reason"], "revoked");

    let logout = format!("csrf={csrf}");
    assert_eq!(client.post("/logout", &login, &logout).status, 303);
    assert_eq!(client.post(END, &login, &form).status, 401);
    let audit = console.audit();
    let count = |action: &str, outcome: &str| {
        let matching = audit
            .iter()
            .filter(|one| (one.0.as_str(), one.1.as_str()) == (action, outcome));
        matching.count()
    };
    assert_eq!((count("login", "done"), count("login", "refused")), (1, 1));
    assert_eq!(count("revoke", "done"), 2);
    assert!(count("revoke", "refused") >= 3);
}

/// With a login that was there before, its browsers go on.
#[test]
fn an_address_that_sends_many_wrong_tokens_is_refused_for_a_while() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = Console::with_token(&installation, &["--trusted-proxy", "127.0.0.1"]);
    let (cookie, csrf) = console.log_in();
    let revoke = |from: &str, headers: &[(&str, &str)]| {
        let own = [
            ("content-type", "application/json"),
            ("x-forwarded-for", from),
        ];
        let headers = [&own, headers].concat();
        let body = r#"{"session_id": "s"}"#;
        let client = &console.client;
        let answer = client.send("POST", "/api/v1/revocations", &headers, body);
        answer.status
    };
    let (attacker, other) = ("192.0.2.1", "192.0.2.2");
    let right = format!("Bearer {TOKEN}");
    assert_eq!(revoke(attacker, &[("authorization", &right)]), 202);
    for _ in 0..MAX_WRONG_TOKENS {
        let wrong = [("authorization", "Bearer not the token at all")];
        assert_eq!(revoke(attacker, &wrong), 401);
    }
    assert_eq!(revoke(attacker, &[("authorization", &right)]), 429);
    let token = format!("token={}", TOKEN.replace(' ', "+"));
    let from = |address| [("x-forwarded-for", address)];
    let client = &console.client;
    assert_eq!(client.post("/login", &from(attacker), &token).status, 429);
    assert_eq!(revoke(other, &[("authorization", &right)]), 202);
    assert_eq!(client.post("/login", &from(other), &token).status, 303);
    let login = [("cookie", cookie.as_str()), ("x-csrf-token", &csrf)];
    assert_eq!(revoke(attacker, &login), 202);
}

#[test]
fn hosts_that_are_not_allowed_are_refused() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = Console::start(&installation, &["--allowed-host", "console.example"]);
    let status = |host: &str| {
        let headers = [("host", host)];
        console
            .client
            .send("GET", "/dashboard", &headers, "")
            .status
    };
    assert_eq!(status("evil.example"), 421);
    assert_eq!(status("localhost.evil.example:9292"), 421);
    for host in [
        "localhost",
        "127.0.0.1:9292",
        "[::1]:9292",
        "Console.Example",
    ] {
        assert_eq!(status(host), 200, "{host}");
    }
}

#[test]
fn an_address_reachable_from_other_machines_requires_a_token() {
    let mut console = Launch::sundown()
        .args(["console", "--listen", "0.0.0.0:0"])
        .start();
    assert_eq!(console.wait(SOON).code(), Some(1));
    let error = console.text(Stream::Stderr);
    assert!(error.contains("--auth-token-file"), "{error}");
}

#[test]
fn redacted_pages_contain_no_ids() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let console = Console::start(&installation, &["--redact"]);
    let session = installation.key_on(0);
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, [activity(&session, "joe the user")]);
    let event = console.await_json("/api/v1/terminal-events", "a terminal event", |body| {
        body["terminal_events"].get(0).cloned()
    });
    let pseudonym = event["session_id"].as_str().expect("text");
    assert!(pseudonym.starts_with('~'), "{pseudonym}");
    let terminal_events = installation.topic("expired_sessions");
    let checkpoints = installation.topic("sundown.checkpoint");
    for path in [
        "/terminal-events".to_owned(),
        format!("/topics/{logs}/0"),
        format!("/topics/{checkpoints}/0"),
        format!("/topics/{terminal_events}/{}", event["partition"]),
    ] {
        let page = console.client.get(&path).body;
        assert!(page.contains(pseudonym), "{path}");
        assert!(
            !page.contains(&session) && !page.contains("joe the user"),
            "{path}"
        );
        assert!(!page.contains("alert"), "{path}");
    }
}

/// Behind a Service, any of them may get the next request.
#[test]
fn a_login_holds_on_another_replica() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let [one, other] = [(); 2].map(|()| Console::with_token(&installation, &[]));
    let (cookie, csrf) = one.log_in();
    let login = [("cookie", cookie.as_str())];
    let page = other.client.send("GET", "/health", &login, "").body;
    assert!(
        page.contains(&format!("name=\"csrf\" value=\"{csrf}\"")),
        "{page}"
    );
}

#[test]
fn behind_a_proxy_links_carry_the_path_and_the_audit_names_the_user() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let flags = ["--base-path", "/sundown", "--trusted-proxy", "127.0.0.1"];
    let console = Console::with_token(&installation, &flags);
    let client = &console.client;
    let page = client.get("/sundown/health").body;
    assert!(page.contains("href=\"/sundown/dashboard\""), "{page}");
    assert!(!page.contains("href=\"/dashboard\""), "{page}");
    // As the browser sends it, and a proxy that rewrites the host and removes the path.
    let forwarded = [
        ("origin", "https://sessions.example"),
        ("x-forwarded-host", "sessions.example"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-email", "ann@example.org"),
    ];
    let token = format!("token={}", TOKEN.replace(' ', "+"));
    // Behind a foreign host a console on a loopback address answers no request.
    assert_eq!(client.post("/login", &forwarded, &token).status, 421);
    let allowed = [&flags[..], &["--allowed-host", "sessions.example"]].concat();
    let console = Console::with_token(&installation, &allowed);
    let answer = console.client.post("/login", &forwarded, &token);
    assert_eq!(answer.header("location"), Some("/sundown/dashboard"));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Path=/sundown;"), "{cookie}");
    // Whatever the log filter is.
    console.process.wait_for_line(SOON, |line| {
        line.text.contains("\"login\"")
            && line.text.contains("192.0.2.7")
            && line.text.contains("ann@example.org")
    });
}

#[test]
fn changes_and_looks_at_personal_data_are_in_the_audit_topic() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let flags = [
        "--trusted-proxy",
        "127.0.0.1",
        "--log",
        "error,sundown::console=info",
    ];
    let console = Console::with_token(&installation, &flags);
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-email", "ann@example.org"),
    ];
    let revocation = json!({"session_id": "s", "note": "stolen phone"}).to_string();
    let path = "/api/v1/revocations";
    let revoke = |headers| console.client.send("POST", path, headers, &revocation);
    assert_eq!(revoke(&headers[..1]).status, 401);
    assert_eq!(revoke(&headers).status, 202);
    for page in [
        "/dashboard",
        "/sessions",
        "/sessions?user=ann",
        "/terminal-events",
    ] {
        assert_eq!(console.client.send("GET", page, &headers, "").status, 200);
    }
    let records = eventually(SOON, "the audit records", || {
        let records = installation.read("sundown.audit");
        (records.len() >= 4).then_some(records)
    });
    let records: Vec<_> = records.iter().map(Record::json).collect();
    let fields = |record: &Value| {
        ["action", "by", "user", "subject", "note", "outcome"]
            .map(|name| record[name].as_str().unwrap_or("-").to_owned())
    };
    let ann = "ann@example.org";
    let mut seen: Vec<_> = records.iter().map(fields).collect();
    seen.sort_unstable();
    // A reader needs no token here, so none is looked at.
    let mut expected = [
        [
            "revoke",
            "anonymous",
            "-",
            "session s",
            "stolen phone",
            "refused",
        ],
        ["revoke", "token", ann, "session s", "stolen phone", "done"],
        ["look", "anonymous", ann, "/sessions?user=ann", "-", "done"],
        ["look", "anonymous", ann, "/terminal-events", "-", "done"],
    ];
    expected.sort_unstable();
    assert_eq!(seen, expected.map(|one| one.map(str::to_owned)));
    let revoked = records.iter().find(|one| one["by"] == "token").unwrap();
    assert_eq!(revoked["from"], "192.0.2.7");
    let log = console.process.text(Stream::Stderr);
    assert!(log.contains("change requested"), "{log}");
}

#[test]
fn an_open_page_is_updated_until_its_login_ends() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = Console::with_token(&installation, &[]);
    let (cookie, csrf) = console.log_in();
    let login = [("cookie", cookie.as_str())];
    let mut lines = console.client.event_stream_with("/dashboard", &login);
    assert!(lines.any(|line| line.starts_with("data:")));
    let logout = console
        .client
        .post("/logout", &login, &format!("csrf={csrf}"));
    assert_eq!(logout.status, 303);
    let deadline = Deadline::after(SOON);
    assert!(lines.all(|_| deadline.left().is_some()), "it goes on");
}

#[test]
fn a_named_token_may_do_what_its_folder_allows() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("deploy-bot"), "token of a program").expect("a file");
    let path = folder.path().to_str().expect("UTF-8");
    let console = Console::with_token(&installation, &["--operator-tokens", path]);
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer token of a program"),
    ];
    let send = |path, body: Value| {
        console
            .client
            .send("POST", path, &headers, &body.to_string())
    };
    let pause = json!({"role": "tracker", "partition": 0, "reason": "deployment"});
    assert_eq!(send("/api/v1/pauses", pause).status, 202);
    let refused = send("/api/v1/revocations", json!({"session_id": "s"}));
    assert_eq!(refused.status, 403);
    assert!(
        refused.body.contains("takes the role admin"),
        "{}",
        refused.body
    );
    let records = eventually(SOON, "the audit records", || {
        let records = installation.read("sundown.audit");
        (records.len() == 2).then_some(records)
    });
    for (record, (action, outcome)) in records
        .iter()
        .zip([("pause", "done"), ("revoke", "refused")])
    {
        let record = record.json();
        assert_eq!(record["user"], "deploy-bot", "{record}");
        assert_eq!(
            (&record["action"], &record["outcome"]),
            (&json!(action), &json!(outcome))
        );
    }
}
