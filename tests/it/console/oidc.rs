//! Logins at a real OpenID provider, in a real browser.

use std::ffi::OsStr;

use josekit::jwk::KeyPair;
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::browser::chromium::Chromium;
use super::{Console, SOON};
use crate::redis::free_port;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::topic::Record;
use crate::support::wait::eventually;
use crate::third_party::{self, Server};

const SECRET: &str = "secret of the console";
const GROUPS: &str = r#"{"ann":["security"],"bob":["staff"],"eve":["other"]}"#;
const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];

/// A provider, and the port of a console that it knows.
struct Provider {
    server: Server,
    port: u16,
    secret: NamedTempFile,
    _key: TempDir,
}

impl Provider {
    /// `None` without npm.
    fn start() -> Option<Self> {
        let (port, folder) = (free_port(), TempDir::new().unwrap());
        let key = folder.path().join("key.pem");
        let pair = RsaKeyPair::generate(2048).unwrap();
        std::fs::write(&key, pair.to_pem_private_key()).unwrap();
        let console = format!("http://localhost:{port}");
        let variables: [(&str, &OsStr); 4] = [
            ("KEY", key.as_os_str()),
            ("KEY_ID", "key-of-the-provider".as_ref()),
            ("CONSOLE", console.as_ref()),
            ("GROUPS", GROUPS.as_ref()),
        ];
        let secret = NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), SECRET).unwrap();
        Some(Self {
            server: third_party::node("provider.js", &variables)?,
            port,
            secret,
            _key: folder,
        })
    }

    /// Starts the console, which requires a login to read.
    fn console(&self, installation: &Installation<'_>) -> Console {
        let (listen, public) = (
            format!("127.0.0.1:{}", self.port),
            format!("http://localhost:{}", self.port),
        );
        let secret = self.secret.path().to_str().unwrap();
        let flags = [
            ["--listen", &listen],
            ["--oidc-issuer", &self.server.url],
            ["--oidc-client-id", "console"],
            ["--oidc-client-secret-file", secret],
            ["--oidc-public-url", &public],
            ["--oidc-scope", "groups"],
            ["--oidc-viewer", "staff"],
            ["--oidc-admin", "security"],
        ];
        Console::start_at(installation, flags.as_flattened())
    }
}

/// Logs a user in, from the page that they want to see on.
fn log_in(chromium: &mut Chromium, console: &Console, user: &str) {
    chromium.open(&console.client.url("/dashboard"));
    chromium.follow("a[href='/login/oidc']");
    chromium.type_into("input[name=login]", user);
    chromium.type_into("input[name=password]", "any");
    chromium.follow("button[type=submit]");
}

/// Ends a session by the API as the page does; returns the status.
fn end_session(chromium: &mut Chromium) -> Value {
    let request = json!({"session_id": "s"}).to_string();
    chromium.eval(&format!(
        "fetch('/api/v1/revocations', {{method: 'POST', body: '{request}', headers: {{'content-type': 'application/json', 'x-csrf-token': document.querySelector('input[name=csrf]').value}}}}).then(response => response.status)"
    ))
}

#[test]
fn users_of_an_openid_provider_may_do_what_their_groups_allow() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let console = provider.console(&installation);
    assert_eq!(console.client.get("/api/v1/dashboard").status, 401);

    log_in(&mut chromium, &console, "bob");
    chromium.open(&console.client.url("/sessions?session=s"));
    let page = chromium.html();
    assert!(page.contains("bob") && page.contains("Log out"), "{page}");
    assert!(
        !page.contains("/sessions/end"),
        "a viewer has no forms: {page}"
    );
    assert_eq!(end_session(&mut chromium), 403);

    let mut chromium = Chromium::launch().unwrap();
    log_in(&mut chromium, &console, "ann");
    chromium.open(&console.client.url("/sessions?session=s"));
    assert!(chromium.html().contains("/sessions/end"));
    assert_eq!(end_session(&mut chromium), 202);
    let revocations = eventually(SOON, "the audit records", || {
        let records = installation.read("sundown.audit");
        let records = records.iter().map(Record::json);
        let records: Vec<_> = records.filter(|one| one["action"] == "revoke").collect();
        (records.len() == 2).then_some(records)
    });
    let of = |record: &Value| (record["user"].clone(), record["outcome"].clone());
    assert_eq!(of(&revocations[0]), (json!("bob"), json!("refused")));
    assert_eq!(of(&revocations[1]), (json!("ann"), json!("done")));

    let mut chromium = Chromium::launch().unwrap();
    log_in(&mut chromium, &console, "eve");
    let page = chromium.html();
    assert!(page.contains("the user eve has no role here"), "{page}");
    chromium.open(&console.client.url("/sessions?session=s"));
    assert!(!chromium.html().contains("Log out"));
}

#[test]
fn a_login_that_this_browser_has_not_begun_is_refused() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = provider.console(&installation);
    let forged = "/login/oidc/callback?state=a&code=b";
    assert_eq!(console.client.get(forged).status, 403);
    let begun = console.client.get("/login/oidc");
    assert_eq!(begun.status, 303, "{}", begun.body);
    let cookie = begun.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let answer = console
        .client
        .send("GET", forged, &[("cookie", cookie)], "");
    assert_eq!(answer.status, 403, "another state");
    assert!(answer.header("set-cookie").is_none());
}
