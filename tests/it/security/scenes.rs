//! What each role does in these tests: enough to need all that it may do.

use std::time::Duration;

use serde_json::{Value, json};
use sundown::clock::Clock;
use tempfile::TempDir;
use uuid::Uuid;

use super::broker::{Authentication, SecureKafka, user};
use crate::console::client::Client;
use crate::eventually::eventually;
use crate::pipeline::installation::{Installation, SHORT};
use crate::pipeline::tracker::Tracker as Running;
use crate::process::{Launch, Stream};
use crate::receiver::{Answer, Receiver};
use crate::topic::NewRecord;

/// For whatever has to happen; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(90);

/// Of the console, and of the webhooks.
const TOKEN: &str = "a-token-of-the-tests";

/// Every session is warned of three seconds after it has started, and ends five after that.
const POLICY: &str = "apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: short}
spec: {idleTimeout: 8s, warnBefore: 7s}
";

/// An installation on the broker that knows its users.
pub struct Scene {
    pub secure: &'static SecureKafka,
    pub installation: Installation<'static>,
    pub authentication: Authentication,
    receiver: Receiver,
    files: TempDir,
}

impl Scene {
    pub fn new(authentication: Authentication) -> Self {
        let secure = SecureKafka::shared();
        let scene = Self {
            secure,
            installation: Installation::new(&secure.kafka, SHORT),
            authentication,
            // For good: a dead letter.
            receiver: Receiver::start(|_| Answer::Status(400)),
            files: TempDir::new().expect("a folder"),
        };
        let policy = scene.file("policy.yaml", POLICY);
        let mut apply = scene
            .installation
            .sundown(&["policy", "apply", "-f", &policy])
            .start();
        assert!(apply.wait(SOON).success(), "{}", apply.text(Stream::Stderr));
        scene
    }

    /// Puts before the names of topics, groups and transactional ids.
    pub fn prefix(&self) -> String {
        self.installation.topic("")
    }

    /// A command as the user of a role.
    pub fn as_user(&self, role: &str, command: &[&str]) -> Launch {
        let launch = Launch::sundown().args(command);
        let launch = launch.args(["--topic-prefix", &self.prefix()]);
        self.secure
            .connect(launch, &user(role), self.authentication)
    }

    /// Starts a role.
    pub fn start(&self, role: &str) -> Running {
        let token = self.file("token", TOKEN);
        let url = self.receiver.url();
        let actions = format!(
            "actions:\n  - {{name: tell, type: webhook, url: '{url}', on: [ending, warning], secret: {{valueFrom: {{file: {token}}}}}}}\n"
        );
        let actions = self.file("actions.yaml", &actions);
        let flags: &[&str] = match role {
            "tracker" => &[
                "--commit-interval",
                "100ms",
                "--session-timeout",
                "3s",
                "--allowed-lateness",
                "1s",
            ],
            "handler" => &["--actions", &actions],
            "console" => &[
                "--listen",
                "127.0.0.1:0",
                "--auth-token-file",
                &token,
                "--anonymous-read",
            ],
            other => panic!("'{other}' is not started here"),
        };
        Running::start(self.as_user(role, &[&[role], flags].concat()))
    }

    /// Gives a role something to do, once more each time.
    pub fn stir(&self, role: &str, running: &Running) {
        match role {
            "tracker" => self.act(),
            "handler" => self.end_and_warn(),
            "console" => self.browse(running),
            other => panic!("'{other}' has nothing to do here"),
        }
    }

    /// Waits until a role does all that it is for.
    pub fn await_at_work(&self, role: &str, running: &Running) {
        running.await_ready();
        let done = || match role {
            "tracker" => [
                self.count("expired_sessions"),
                self.count("expiring_sessions"),
                self.count("session_logs.dlq"),
            ]
            .to_vec(),
            "handler" => vec![
                self.count("expired_sessions.dlq"),
                self.receiver.calls().len(),
            ],
            _ => vec![self.count("session_logs"), self.count("sundown.processes")],
        };
        let before = done();
        self.stir(role, running);
        eventually(SOON, &format!("a {role} at work"), || {
            if role == "console" {
                self.browse(running);
            }
            let now = done();
            now.iter()
                .zip(&before)
                .all(|(now, before)| now > before)
                .then_some(())
        });
    }

    fn count(&self, topic: &str) -> usize {
        self.installation.read(topic).len()
    }

    /// A user who logs in and out, one who goes quiet, and something that is no event.
    fn act(&self) {
        let now = Clock::default().wall().as_millis();
        let event = |session: &str, event: &str| {
            let event = json!({
                "user_id": 7, "session_id": session, "activity_timestamp": now, "event": event,
            });
            NewRecord::new(session, event.to_string())
        };
        let (short, quiet) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let events = [
            event(&short, "login"),
            event(&quiet, "login"),
            event(&short, "logout"),
            NewRecord::new("none", "no event"),
        ];
        self.secure
            .kafka
            .produce(&self.installation.session_logs(), events);
    }

    /// What a tracker writes when a session ends, and when one is about to.
    fn end_and_warn(&self) {
        let record = |fields: Value| {
            let mut event = json!({
                "event_id": Uuid::new_v4(), "session_id": "s", "user_id": 7,
                "policy": {"name": "short", "generation": 1},
                "started_at": "2026-01-01T10:00:00.000Z", "last_activity": "2026-01-01T10:00:00.000Z",
                "attributes": {},
            });
            let all = event.as_object_mut().expect("an object");
            all.extend(fields.as_object().expect("an object").clone());
            NewRecord::new("s", event.to_string())
        };
        let ended = record(json!({
            "reason": "idle_timeout",
            "ended_at": "2026-01-01T10:00:08.000Z", "detected_at": "2026-01-01T10:00:09.000Z",
        }));
        let far = Clock::default().wall().as_millis() + 60_000;
        let expires = chrono::DateTime::from_timestamp_millis(far).expect("a time");
        let expires = expires.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let warned = record(json!({
            "reason": "idle_timeout", "expires_at": expires, "detected_at": "2026-01-01T10:00:01.000Z",
        }));
        self.secure
            .kafka
            .produce(&self.installation.topic("expired_sessions"), [ended]);
        self.secure
            .kafka
            .produce(&self.installation.topic("expiring_sessions"), [warned]);
    }

    /// Looks at every page that asks Kafka something, and ends a session.
    fn browse(&self, running: &Running) {
        let Some(client) = console_of(running) else {
            return;
        };
        let pages = [
            "dashboard",
            "consumers",
            "health",
            "endings",
            "policies",
            "dead-letters",
            "topics",
        ];
        for page in pages {
            client.get(&format!("/{page}"));
        }
        for topic in [
            "session_logs",
            "sundown.checkpoint",
            "session_logs.dlq",
            "expiring_sessions",
        ] {
            let answer = client.get(&format!("/topics/{}/0", self.installation.topic(topic)));
            self.note(&answer.body);
        }
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = client.send(
            "POST",
            "/api/v1/revocations",
            &headers,
            r#"{"session_id":"s"}"#,
        );
        self.note(&answer.body);
    }

    /// What pages say goes where a test looks for it.
    fn note(&self, body: &str) {
        let path = self.files.path().join("pages");
        let told = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, told + body).expect("the file is written");
    }

    /// Everything that a role has said, in its log and on its pages.
    pub fn told(&self, running: &Running) -> String {
        let pages = std::fs::read_to_string(self.files.path().join("pages"));
        running.log() + &pages.unwrap_or_default()
    }

    /// Forgets what pages have said.
    pub fn forget(&self) {
        let _none = std::fs::remove_file(self.files.path().join("pages"));
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("the file is written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

/// A client of a console, once it says where it is.
fn console_of(running: &Running) -> Option<Client> {
    let log = running.log();
    let line = log
        .lines()
        .find(|line| line.contains("the console is there"))?;
    let entry: Value = serde_json::from_str(line).ok()?;
    let port = entry["url"].as_str()?.trim_end_matches("/dashboard");
    Some(Client::new(port.rsplit(':').next()?.parse().ok()?))
}
