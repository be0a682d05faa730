//! A whole installation: its dashboards, and faults outside the trackers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::json;
use sundown::clock::Clock;
use tempfile::{NamedTempFile, TempDir};

use super::apiserver::ApiServer;
use super::expressions::{Expression, of_alerts, of_dashboards};
use super::prometheus::{Prometheus, Sample};
use super::scene::{Provoked, Scene};
use crate::receiver::{Receiver, Response};
use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const NAMESPACE: &str = "whole";
/// Topics of a source.
const SOURCES: [&str; 2] = ["web", "mail"];
const HOUR: i64 = 3_600_000;
/// Activity that soon after a revocation was under way.
const SHORT_GRACE: &[&str] = &["--end-grace", "1s"];
const OTHER_POLICY: &str = "
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: other}
spec: {idleTimeout: 9s}
";

/// All roles, each as a pod of a namespace.
struct Whole<'a> {
    installation: Installation<'a>,
    api: ApiServer,
    receiver: Receiver,
    /// What the receiver answers.
    answer: Arc<AtomicU16>,
    trackers: Vec<RoleProcess>,
    handler: Option<RoleProcess>,
    ingest: Option<RoleProcess>,
    controller: RoleProcess,
    console: Option<RoleProcess>,
    _files: TempDir,
}

impl<'a> Whole<'a> {
    fn start(kafka: &'a Kafka) -> Self {
        // Where producers' timestamps count, a record can be made to look old.
        let installation = Installation::with_create_time(kafka, SHORT);
        let answer = Arc::new(AtomicU16::new(200));
        let receiver = Receiver::start({
            let answer = Arc::clone(&answer);
            move |_| Response::Status(answer.load(SeqCst))
        });
        let files = TempDir::new().expect("a folder");
        let actions = files.path().join("actions.yaml");
        let text = format!(
            "actions:\n  - {{name: notify, type: webhook, url: '{}', secret: {{valueFrom: {{env: SECRET}}}}}}\nretry: {{initialBackoff: 10ms, maxBackoff: 100ms}}\n",
            receiver.url()
        );
        std::fs::write(&actions, text).expect("the file is written");
        let api = ApiServer::start(NAMESPACE);
        api.apply("default", &json!({"idleTimeout": "3s", "warnBefore": "1s"}));
        let sources = SOURCES.map(|name| installation.topic(name));
        for topic in &sources {
            kafka.create_topic(topic, 3, &[]);
        }
        let session = json!({"id": "value.session", "user": "value.user"});
        api.apply_source("web", &json!({"topics": sources, "session": session}));
        let controller = installation.sundown(&["controller"]);
        let controller = controller.env("KUBECONFIG", api.kubeconfig());
        let controller = controller.args(["--lease-duration", "5s", "--lag-interval", "1s"]);
        let handler = installation.sundown(&["handler"]).arg("--actions");
        let handler = handler.arg(actions).env("SECRET", "of the receiver");
        let whole = Self {
            trackers: vec![
                installation.tracker(SHORT_GRACE),
                installation.tracker(SHORT_GRACE),
            ],
            handler: Some(RoleProcess::start(handler)),
            ingest: Some(RoleProcess::start(installation.sundown(&["ingest"]))),
            controller: RoleProcess::start(controller),
            console: Some(console(&installation)),
            installation,
            api,
            receiver,
            answer,
            _files: files,
        };
        for process in whole.trackers.iter().chain(&whole.handler) {
            process.await_ready();
        }
        whole
            .controller
            .await_metric("sundown_source_processes", "", 1);
        whole
            .controller
            .await_metric("sundown_policy_trackers", "", 2);
        whole
    }

    fn pods(&self) -> Vec<(&str, &RoleProcess)> {
        let mut pods = vec![("controller-0", &self.controller)];
        pods.extend(["tracker-0", "tracker-1"].into_iter().zip(&self.trackers));
        pods.extend(self.handler.iter().map(|handler| ("handler-0", handler)));
        pods.extend(self.ingest.iter().map(|ingest| ("ingest-0", ingest)));
        pods.extend(self.console.iter().map(|console| ("console-0", console)));
        pods
    }

    /// Sessions on every partition, which time out, each on the partition that is its own.
    fn start_sessions(&self) {
        let sessions = (0..PARTITIONS).map(|partition| self.installation.key_on(partition));
        self.write("session_logs", sessions.map(|session| activity(&session)));
    }

    fn write(&self, topic: &str, records: impl IntoIterator<Item = NewRecord>) {
        let topic = self.installation.topic(topic);
        self.installation.kafka.produce(&topic, records);
    }
}

fn console(installation: &Installation<'_>) -> RoleProcess {
    let console = installation.sundown(&["console", "--listen", "127.0.0.1:0"]);
    RoleProcess::start(console)
}

pub fn play(prometheus: &Prometheus) -> Provoked {
    let mut scene = Scene::new(prometheus, NAMESPACE);
    let mut whole = Whole::start(Kafka::shared());
    let calm = Calm::start(prometheus);
    scene.scrape(&whole.pods());
    // New, and without any session.
    scene.await_calm();

    whole.start_sessions();
    whole.receiver.wait_for(SOON, 3);
    assert_data(prometheus);
    scene.assert_calm();

    read_wrongly(&mut scene, &whole);
    acted_in_vain(&mut scene, &whole);
    ruled_wrongly(&mut scene, &whole);
    ingested_no_more(&mut scene, &mut whole);
    gone(&mut scene, &mut whole);
    calm.scene.assert_calm();
    scene.provoked()
}

/// Every expression gives data of this installation, but for those about faults: there are
/// none yet.
fn assert_data(prometheus: &Prometheus) {
    let mut expressions = of_dashboards(NAMESPACE);
    assert!(expressions.len() > 80, "{}", expressions.len());
    expressions.extend(of_alerts());
    expressions.retain(|expression| !expression.is_about_faults());
    for Expression { place, text } in expressions {
        eventually(SOON, &format!("data of {place}: {text}"), || {
            let data = prometheus.query(&text);
            let namespace = |sample: &Sample| sample.labels.get("namespace").cloned();
            let mut namespaces = data.iter().map(namespace);
            let own = |namespace: Option<String>| namespace.is_none_or(|it| it == NAMESPACE);
            namespaces.any(own).then_some(())
        });
    }
}

fn read_wrongly(scene: &mut Scene<'_>, whole: &Whole<'_>) {
    let alerts = [
        "SundownEventsMisrouted",
        "SundownEventsLate",
        "SundownSessionsRevived",
        "SundownSessionEventsDeadLettered",
        "SundownSourceRecordsDeadLettered",
    ];
    scene.provoke(alerts, |_| {
        let session = whole.installation.key_on(0);
        let elsewhere = NewRecord {
            partition: Some(1),
            ..activity(&session)
        };
        let useless = NewRecord::new("key", "nonsense");
        let an_hour_old =
            json!({"user_id": 1, "session_id": "late", "activity_timestamp": now() - HOUR});
        let late = NewRecord::new("late", an_hour_old.to_string());
        let step = |kind: &str, ago: i64| {
            let event = json!({
                "user_id": 1, "session_id": "revived", "event": kind,
                "activity_timestamp": now() - ago,
            });
            NewRecord::new("revived", event.to_string())
        };
        let revived = [
            step("login", 2_500),
            step("revoke", 2_000),
            step("activity", 0),
        ];
        whole.write(SOURCES[0], [NewRecord::new("key", "nonsense")]);
        // First, because their times are close to now.
        whole.write("session_logs", revived);
        whole.write("session_logs", [elsewhere, useless, late]);
    });
}

fn acted_in_vain(scene: &mut Scene<'_>, whole: &Whole<'_>) {
    scene.provoke(["SundownEndingsDeadLettered"], |_| {
        whole.answer.store(410, SeqCst);
        whole.start_sessions();
    });
    let alerts = [
        "SundownCircuitOpen",
        "SundownActionsFailing",
        "SundownActionBehind",
        "SundownHandlerLag",
    ];
    scene.provoke(alerts, |_| {
        whole.answer.store(503, SeqCst);
        let ending = whole.installation.read("expired_sessions").remove(0);
        let an_hour_old = NewRecord {
            key: ending.key,
            value: ending.value,
            partition: Some(ending.partition),
            timestamp: Some(now() - HOUR),
            ..NewRecord::default()
        };
        let many = std::iter::repeat_n(an_hour_old, 101);
        whole.write("expired_sessions", many);
        whole.start_sessions();
    });
}

fn ruled_wrongly(scene: &mut Scene<'_>, whole: &Whole<'_>) {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), OTHER_POLICY).expect("the file is written");
    let path = file.path().to_str().expect("UTF-8");
    let by_its_own_rules = whole.installation.tracker(&["--policies", path]);
    by_its_own_rules.await_ready();
    let alerts = [
        "SundownPolicyNotReady",
        "SundownPolicyRefused",
        "SundownPolicyNotActive",
        "SundownReconcileErrors",
        "SundownSourceNotReady",
    ];
    scene.provoke(alerts, |scene| {
        scene.scrape(&[("tracker-2", &by_its_own_rules)]);
        whole.write("sundown.policies", [NewRecord::new("wrong", "nonsense")]);
        whole.api.refuse_statuses();
        whole.api.apply("wrong", &json!({"idleTimeout": "0s"}));
        let typo = json!({"topics": ["other"], "session": {"id": "vlaue.session"}});
        whole.api.apply_source("wrong", &typo);
    });
}

fn ingested_no_more(scene: &mut Scene<'_>, whole: &mut Whole<'_>) {
    // What a deleted topic may have contained holds endings.
    let alerts = ["SundownIngestFailing", "SundownSourceHoldsEndings"];
    scene.provoke(alerts, |_| {
        let topic = whole.installation.topic(SOURCES[1]);
        let admin: AdminClient<DefaultClientContext> = whole
            .installation
            .kafka
            .client()
            .create()
            .expect("a client");
        let deleted = admin.delete_topics(&[&topic], &AdminOptions::new());
        block_on(deleted).expect("the topic is deleted");
    });
    scene.provoke(["SundownIngestAbsent", "SundownIngestLag"], |_| {
        whole.ingest.take().expect("an ingest process").kill();
        let an_hour_old = NewRecord {
            timestamp: Some(now() - HOUR),
            ..NewRecord::new("unread", "{}")
        };
        whole.write(SOURCES[0], [an_hour_old]);
    });
}

fn gone(scene: &mut Scene<'_>, whole: &mut Whole<'_>) {
    scene.provoke(["SundownProcessRestarts"], |scene| {
        for _ in 0..3 {
            whole.console.take().expect("a console").kill();
            let again = console(&whole.installation);
            scene.scrape(&[("console-0", &again)]);
            let start = again.value("sundown_start_timestamp_seconds", "");
            let start = start.expect("when it started");
            scene.wait_for(&format!(
                "sundown_start_timestamp_seconds{{pod=\"console-0\"}} == {start}"
            ));
            whole.console = Some(again);
        }
    });
    let alerts = [
        "SundownHandlerAbsent",
        "SundownTrackerAbsent",
        "SundownTrackerLag",
    ];
    scene.provoke(alerts, |_| {
        whole.handler.take().expect("a handler").kill();
        whole.trackers.drain(..).for_each(RoleProcess::kill);
        let an_hour_old = (0..PARTITIONS).map(|partition| NewRecord {
            partition: Some(partition),
            timestamp: Some(now() - HOUR),
            ..NewRecord::new("unread", "{}")
        });
        whole.write("session_logs", an_hour_old);
    });
    scene.provoke(["SundownControllerWithoutLeader"], |_| whole.api.stop());
}

fn now() -> i64 {
    Clock::default().wall().as_millis()
}

fn activity(session: &str) -> NewRecord {
    let event = json!({"user_id": session, "session_id": session, "activity_timestamp": now()});
    NewRecord::new(session, event.to_string())
}

/// Another installation under the same Prometheus, which everything is all right with.
struct Calm<'a> {
    scene: Scene<'a>,
    _processes: [RoleProcess; 2],
}

impl<'a> Calm<'a> {
    fn start(prometheus: &'a Prometheus) -> Self {
        let installation = Installation::new(Kafka::shared(), SHORT);
        let tracker = installation.tracker(&[]);
        let handler = RoleProcess::start(installation.sundown(&["handler"]));
        tracker.await_ready();
        handler.await_ready();
        let scene = Scene::new(prometheus, "calm");
        scene.scrape(&[("tracker-0", &tracker), ("handler-0", &handler)]);
        Self {
            scene,
            _processes: [tracker, handler],
        }
    }
}
