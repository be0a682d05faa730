//! `sundown console` over a real tracker and a real Kafka, as browsers and scripts see it.

mod browser;
mod changes;
pub mod client;
mod pages;
mod security;

use std::time::Duration;

use serde_json::{Value, json};
use sundown::clock::Clock;
use tempfile::NamedTempFile;

use crate::eventually::eventually;
use crate::pipeline::installation::Installation;
use crate::process::{Process, Stream};
use crate::topic::NewRecord;
use client::Client;

const SOON: Duration = Duration::from_secs(90);
const TOKEN: &str = "a token of the tests";
/// What would run, or break out of where it stands, were it not escaped.
const HOSTILE: &str = r#"</td><script>alert('1')</script><img src=x onerror="alert(2)">{{7*7}}"#;

/// A console that runs, and whoever talks to it.
struct Console {
    process: Process,
    client: Client,
    _token: NamedTempFile,
}

impl Console {
    /// Read-only.
    fn start(installation: &Installation<'_>, flags: &[&str]) -> Self {
        let token = NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), TOKEN).expect("the file is written");
        Self::launch(installation, flags, token)
    }

    /// With the token.
    fn with_token(installation: &Installation<'_>, flags: &[&str]) -> Self {
        let token = NamedTempFile::new().expect("a file");
        std::fs::write(token.path(), TOKEN).expect("the file is written");
        let path = token.path().to_str().expect("UTF-8").to_owned();
        let flags = [&["--auth-token-file", &path], flags].concat();
        Self::launch(installation, &flags, token)
    }

    fn launch(installation: &Installation<'_>, flags: &[&str], token: NamedTempFile) -> Self {
        let launch = installation.sundown(&["console", "--listen", "127.0.0.1:0"]);
        let process = launch.args(flags).start();
        let line = process.wait_for_line(SOON, |line| line.text.contains("the console is there"));
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

    /// Logs in: the cookie, and what forms have to carry.
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

    /// Sends JSON with the token.
    fn api(&self, method: &str, path: &str, body: &Value) -> client::Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", &bearer),
        ];
        self.client.send(method, path, &headers, &body.to_string())
    }

    /// Waits until the JSON behind a page fulfils `wish`, and returns what that made of it.
    fn await_json<T>(&self, path: &str, what: &str, wish: impl Fn(&Value) -> Option<T>) -> T {
        eventually(SOON, what, || wish(&self.client.json(path)))
    }

    /// Waits for the ending of a session; the JSON of it.
    fn await_ending(&self, session: &str) -> Value {
        self.await_json("/api/v1/endings", "the session's ending", |body| {
            let endings = body["endings"].as_array()?.iter();
            let mut of_it = endings.filter(|ending| ending["session_id"] == session);
            of_it.next().cloned()
        })
    }

    /// The audit records so far: outcome by action.
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

/// A session of a user, active just now.
fn activity(session: &str, user: &str) -> NewRecord {
    let event = json!({
        "user_id": user,
        "session_id": session,
        "activity_timestamp": Clock::default().wall().as_millis(),
        "attributes": {"client": HOSTILE},
    });
    NewRecord::new(session, event.to_string())
}
