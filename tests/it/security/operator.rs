//! An operator at the console, who opens every page and makes every change.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::console::client::Client;
use crate::support::installation::Installation;
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, TOPICS};

/// With which something may be changed.
pub const TOKEN: &str = "a-token-of-the-tests";

const PAGES: [&str; 7] = [
    "dashboard",
    "consumers",
    "health",
    "terminal-events",
    "policies",
    "dead-letters",
    "topics",
];

pub struct Operator(Client);

impl Operator {
    /// Of a console, once it has logged its address.
    pub fn of(running: &RoleProcess) -> Option<Self> {
        let log = running.log();
        let line = log
            .lines()
            .find(|line| line.contains("serving the console"))?;
        let entry: Value = serde_json::from_str(line).ok()?;
        let port = entry["url"].as_str()?.trim_end_matches("/dashboard");
        Some(Self(Client::new(port.rsplit(':').next()?.parse().ok()?)))
    }

    /// Looks at every page and topic. What the console answered, a line each.
    pub fn look(&self, installation: &Installation<'_>) -> String {
        for page in PAGES {
            self.0.get(&format!("/{page}"));
        }
        let mut responses = line("lag", &self.0.get("/api/v1/health").body);
        let topics = TOPICS.into_iter();
        for topic in topics.map(|topic| installation.topic(topic)) {
            let path = format!("/api/v1/topics/{topic}/0");
            responses += &line(&topic, &self.0.get(&path).body);
        }
        responses
    }

    /// Ends a session, tries dead letters of both kinds again, pauses a partition and resumes it.
    /// What the console answered, a line each.
    pub fn change(&self, installation: &Installation<'_>) -> String {
        let session = json!({"session_id": "s"});
        let mut responses = line("end", &self.send("POST", "revocations", &session));
        for (kind, topic) in [
            ("events", "session_logs.dlq"),
            ("endings", "expired_sessions.dlq"),
        ] {
            let letter = NewRecord::new(Uuid::new_v4().to_string(), "{}");
            let topic = installation.topic(topic);
            installation.kafka.produce(&topic, [letter]);
            let all = json!({"all": true, "kind": kind});
            responses += &line("redrive", &self.send("POST", "dead-letters/redrive", &all));
        }
        for method in ["POST", "DELETE"] {
            let place = json!({"role": "handler", "partition": 0});
            responses += &line("pause", &self.send(method, "pauses", &place));
        }
        responses
    }

    fn send(&self, method: &str, what: &str, body: &Value) -> String {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/api/v1/{what}");
        self.0.send(method, &path, &headers, &body.to_string()).body
    }
}

fn line(what: &str, answer: &str) -> String {
    format!("{what}: {}\n", answer.replace('\n', " "))
}
