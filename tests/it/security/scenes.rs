//! Makes each role use all of its permissions.

use std::time::Duration;

use serde_json::{Value, json};
use sundown::clock::Clock;
use tempfile::TempDir;
use uuid::Uuid;

use super::acls::Permission;
use super::broker::{Authentication, SecureKafka, user};
use super::chart::SOURCE_TOPIC;
use super::operator::{Operator, TOKEN};
use crate::controller::cluster::TestNamespace;
use crate::receiver::{Receiver, Response};
use crate::support::installation::{Installation, PARTITIONS, SHORT};
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// For whatever has to happen; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(90);

/// Every session is warned of three seconds after it has started, and ends five after that.
const POLICY: &str = "apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: short}
spec: {idleTimeout: 8s, warnBefore: 7s}
";

const SOURCE: &str = "apiVersion: sundown.dev/v1alpha1
kind: SessionSource
metadata: {name: access}
spec: {topics: [TOPIC], session: {id: value.sid, user: value.uid}}
";

/// An installation on the broker that knows its users.
pub struct Scene<'a> {
    pub secure: &'static SecureKafka,
    pub installation: Installation<'static>,
    pub authentication: Authentication,
    receiver: Receiver,
    files: TempDir,
    /// Where a controller finds policies.
    namespace: Option<TestNamespace<'a>>,
}

impl<'a> Scene<'a> {
    /// One in Kubernetes.
    pub fn of(namespace: TestNamespace<'a>, authentication: Authentication) -> Self {
        Self {
            namespace: Some(namespace),
            ..Self::new(authentication)
        }
    }

    pub fn new(authentication: Authentication) -> Self {
        let secure = SecureKafka::shared();
        let scene = Self {
            secure,
            installation: Installation::new(&secure.kafka, SHORT),
            authentication,
            // For good: a dead letter.
            receiver: Receiver::start(|_| Response::Status(400)),
            files: TempDir::new().expect("a folder"),
            namespace: None,
        };
        let policy = scene.file("policy.yaml", POLICY);
        scene.installation.run(&["policy", "apply", "-f", &policy]);
        scene.apply_source();
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
    pub fn start(&self, role: &str) -> RoleProcess {
        let token = self.file("token", TOKEN);
        let url = self.receiver.url();
        let actions = format!(
            "actions:\n  - {{name: notify, type: webhook, url: '{url}', on: [ending, warning], secret: {{valueFrom: {{file: {token}}}}}}}\n"
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
            "ingest" => &["--commit-interval", "100ms", "--session-timeout", "6s"],
            "console" => &[
                "--listen",
                "127.0.0.1:0",
                "--auth-token-file",
                &token,
                "--anonymous-read",
            ],
            "controller" => return RoleProcess::start(self.controller()),
            other => panic!("'{other}' is not started here"),
        };
        RoleProcess::start(self.as_user(role, &[&[role], flags].concat()))
    }

    /// Creates a topic of JSON records and its source.
    fn apply_source(&self) {
        let topic = self.installation.topic(SOURCE_TOPIC);
        self.secure.kafka.create_topic(&topic, PARTITIONS, &[]);
        let source = self.file("source.yaml", &SOURCE.replace("TOPIC", &topic));
        self.installation.run(&["source", "apply", "-f", &source]);
    }

    /// It may do anything in Kubernetes.
    fn controller(&self) -> Launch {
        let TestNamespace { cluster, name } = self.namespace();
        self.as_user("controller", &["controller"])
            .args(["--namespace", name, "--lease-namespace", name])
            .args(["--lease-duration", "5s", "--lag-interval", "1s"])
            .env("KUBECONFIG", &cluster.kubeconfig)
    }

    fn namespace(&self) -> &TestNamespace<'a> {
        self.namespace.as_ref().expect("a controller has one")
    }

    /// Gives a role something to do, once more each time.
    pub fn stir(&self, role: &str, running: &RoleProcess) {
        match role {
            "tracker" => self.act(),
            "handler" => self.end_and_warn(),
            "ingest" => self.access(),
            "console" => {
                self.look(running);
                self.change(running);
            }
            "controller" => self.edit(),
            other => panic!("'{other}' has nothing to do here"),
        }
    }

    /// Gives a role something to do that takes this permission.
    pub fn stir_for(&self, missing: &Permission, role: &str, running: &RoleProcess) {
        match (role, missing.operation.as_str()) {
            ("console", "Write") => self.change(running),
            ("console", _) => self.look(running),
            _ => self.stir(role, running),
        }
    }

    fn look(&self, running: &RoleProcess) {
        if let Some(operator) = Operator::of(running) {
            self.note(&operator.look(&self.installation));
        }
    }

    fn change(&self, running: &RoleProcess) {
        if let Some(operator) = Operator::of(running) {
            self.note(&operator.change(&self.installation));
        }
    }

    /// Waits until a role does all that it is for.
    pub fn await_at_work(&self, role: &str, running: &RoleProcess) {
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
            "ingest" => vec![
                self.count("session_logs"),
                self.count("session_logs.dlq"),
                self.count("sundown.watermarks"),
            ],
            "controller" => vec![
                self.count("sundown.policies"),
                self.count("sundown.processes"),
            ],
            _ => vec![
                self.count("session_logs"),
                self.count("expired_sessions"),
                self.count("sundown.policies"),
                self.count("sundown.processes"),
            ],
        };
        let before = done();
        self.stir(role, running);
        eventually(SOON, &format!("a {role} at work"), || {
            if role == "console" {
                self.stir(role, running);
            }
            let now = done();
            let more = now.iter().zip(&before).all(|(now, before)| now > before);
            (more && (role != "controller" || self.lags_are_known(running))).then_some(())
        });
    }

    /// Whether a controller knows the age of the oldest unread records.
    fn lags_are_known(&self, running: &RoleProcess) -> bool {
        ["sundown-tracker", "sundown-handler"].iter().all(|group| {
            let group = format!("consumergroup=\"{}\"", self.installation.topic(group));
            let seconds = running.value("kafka_consumergroup_lag_seconds{", &group);
            seconds.is_some()
        })
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
        // On every partition, so that the tracker has to forward some.
        let logins = (0..PARTITIONS).map(|partition| NewRecord {
            partition: Some(partition),
            ..event(&short, "login")
        });
        let events = [
            event(&quiet, "login"),
            event(&short, "logout"),
            NewRecord::new("none", "no event"),
        ];
        self.secure
            .kafka
            .produce(&self.installation.session_logs(), logins.chain(events));
    }

    /// A record that ingest can map, and one that it cannot.
    fn access(&self) {
        let topic = self.installation.topic(SOURCE_TOPIC);
        let record = NewRecord::new("none", r#"{"sid": "s", "uid": 7}"#.to_owned());
        self.secure
            .kafka
            .produce(&topic, [record, NewRecord::new("none", "no JSON")]);
    }

    /// Edits a policy, and leaves records unread.
    fn edit(&self) {
        self.act();
        self.end_and_warn();
        self.access();
        let seconds = 1 + Clock::default().wall().as_millis() % 100_000;
        let spec = json!({"idleTimeout": format!("{seconds}s")});
        self.namespace().apply("edited", &spec);
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

    /// What pages say goes where a test looks for it.
    fn note(&self, body: &str) {
        let path = self.files.path().join("pages");
        let content = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, content + body).expect("the file is written");
    }

    /// The log and the pages of a role.
    pub fn output(&self, running: &RoleProcess) -> String {
        running.log() + &self.pages()
    }

    /// What pages have said.
    pub fn pages(&self) -> String {
        let pages = std::fs::read_to_string(self.files.path().join("pages"));
        pages.unwrap_or_default()
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
