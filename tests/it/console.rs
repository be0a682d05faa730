//! `sundown console` with a real tracker and a real Kafka, used by browsers and scripts.

pub mod browser;
mod changes;
pub mod client;
mod oidc;
mod pages;
mod security;
mod sources;

use std::time::Duration;

use serde_json::{Value, json};
use sundown::clock::Clock;
use tempfile::NamedTempFile;

use crate::support::installation::Installation;
use crate::support::process::{Process, Stream};
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;
use client::Client;

const SOON: Duration = Duration::from_secs(90);
const TOKEN: &str = "a token of the tests";
/// Markup that would run a script or leave its element if it were not escaped.
const HOSTILE: &str = r#"</td><script>alert('1')</script><img src=x onerror="alert(2)">{{7*7}}"#;

/// A running console and its client.
pub struct Console {
    process: Process,
    pub client: Client,
    _token: NamedTempFile,
}

impl Console {
    /// Starts a read-only console.
    pub fn start(installation: &Installation<'_>, flags: &[&str]) -> Self {
        let token = NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), TOKEN).expect("the file is written");
        Self::launch(installation, flags, token)
    }

    /// Starts a console with [`TOKEN`].
    fn with_token(installation: &Installation<'_>, flags: &[&str]) -> Self {
        let token = NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), TOKEN).expect("the file is written");
        let path = token.path().to_str().expect("UTF-8").to_owned();
        let flags = [&["--auth-token-file", &path], flags].concat();
        Self::launch(installation, &flags, token)
    }

    fn launch(installation: &Installation<'_>, flags: &[&str], token: NamedTempFile) -> Self {
        let flags = [&["--listen", "127.0.0.1:0"], flags].concat();
        Self::launch_at(installation, &flags, token)
    }

    /// Starts a console on the address of its flags.
    fn start_at(installation: &Installation<'_>, flags: &[&str]) -> Self {
        Self::launch_at(installation, flags, NamedTempFile::new().expect("a file"))
    }

    fn launch_at(installation: &Installation<'_>, flags: &[&str], token: NamedTempFile) -> Self {
        let process = installation.sundown(&["console"]).args(flags).start();
        let line = process.wait_for_line(SOON, |line| line.text.contains("serving the console"));
        let entry: Value = serde_json::from_str(&line.text).expect("JSON");
        let url = entry["url"].as_str().expect("an address");
        let port = url.trim_start_matches("http://localhost:");
        let port = port.trim_end_matches("/dashboard").parse().expect("a port");
        Self {
            process,
            client: Client::new(port),
            _token: token,
        }
    }

    /// Logs in; returns the cookie and the CSRF token of forms.
    fn log_in(&self) -> (String, String) {
        let token = format!("token={}", TOKEN.replace(' ', "+"));
        let answer = self.client.post("/login", &[], &token);
        let cookie = answer.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a name").to_owned();
        let page = self
            .client
            .send("GET", "/health", &[("cookie", &cookie)], "");
        let (_, rest) = page
            .body
            .split_once("name=\"csrf\" value=\"")
            .expect("a form");
        let (csrf, _) = rest.split_once('"').expect("its token");
        (cookie, csrf.to_owned())
    }

    /// Sends a JSON request with the token.
    fn api(&self, method: &str, path: &str, body: &Value) -> client::HttpResponse {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &bearer),
        ];
        self.client.send(method, path, &headers, &body.to_string())
    }

    /// Waits until `check` accepts the JSON at `path`; returns its result.
    fn await_json<T>(&self, path: &str, what: &str, check: impl Fn(&Value) -> Option<T>) -> T {
        eventually(SOON, what, || check(&self.client.json(path)))
    }

    /// Waits for the terminal event of a session; returns its JSON.
    pub fn await_terminal_event(&self, session: &str) -> Value {
        self.await_json("/api/v1/terminal-events", "the terminal event", |body| {
            let mut events = body["terminal_events"].as_array()?.iter();
            events.find(|event| event["session_id"] == session).cloned()
        })
    }

    /// Action and outcome of the audit records so far.
    fn audit(&self) -> Vec<(String, String)> {
        let log = self.process.text(Stream::Stderr);
        let entries = log.lines().filter_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (entry["target"] == "audit").then(|| (text("action"), text("outcome")))
        });
        entries.collect()
    }
}

/// An event of a user in a session, with the current time.
fn activity(session: &str, user: &str) -> NewRecord {
    let event = json!({
        "user_id": user,
        "session_id": session,
        "activity_timestamp": Clock::default().wall().as_millis(),
        "attributes": {"client": HOSTILE},
    });
    NewRecord::new(session, event.to_string())
}
