//! Warnings, from the policy to the receiver.

use serde_json::{Value, json};
use sundown::clock::Clock;
use tempfile::TempDir;

use super::{SECRET, SOON, stop, webhook};
use crate::receiver::{Call, Receiver, Response};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Process};
use crate::support::topic::NewRecord;

const POLICY: &str = "apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: short}
spec: {idleTimeout: 20s, warnBefore: 16s}
";

fn start(prefix: &str, role: &[&str]) -> Process {
    Launch::sundown()
        .args(role)
        .args(["-b", Kafka::shared().bootstrap(), "--topic-prefix", prefix])
        .args(["--log-format", "json"])
        .env("WEBHOOK_SECRET", SECRET)
        .start()
}

fn activity(prefix: &str) {
    let event = json!({
        "user_id": 7,
        "session_id": "s",
        "activity_timestamp": Clock::default().wall().as_millis(),
    });
    let topic = format!("{prefix}session_logs");
    Kafka::shared().produce(&topic, [NewRecord::new("s", event.to_string())]);
}

fn kind(call: &Call) -> &str {
    let kind = call.headers["sundown-event-type"].to_str().unwrap();
    kind.strip_prefix("dev.sundown.session.").unwrap()
}

#[test]
fn a_session_is_warned_of_once_in_every_idle_spell_and_then_ends() {
    let prefix = unique_prefix("warnings");
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut create = start(&prefix, &["topics", "create", "--partitions", "1"]);
    assert!(create.wait(SOON).success());
    let receiver = Receiver::start(|_| Response::Status(200));
    let action =
        webhook("notify", &receiver.url()).replace("timeout", "on: [ending, warning], timeout");
    let policies = file("policies.yaml", POLICY);
    let actions = file("actions.yaml", &format!("actions:\n{action}"));
    let lateness = ["--policies", &policies, "--allowed-lateness", "200ms"];
    let tracker = start(&prefix, &[&["tracker"], &lateness[..]].concat());
    let handler = start(&prefix, &["handler", "--actions", &actions]);
    handler.wait_for_line(SOON, |line| {
        line.text.contains("\"assigned\"") && line.text.contains("[0]")
    });

    activity(&prefix);
    let calls = receiver.wait_for(SOON, 1);
    assert_eq!(kind(&calls[0]), "expiring");
    // It is withdrawn; the next one is of another spell.
    activity(&prefix);
    let calls = receiver.wait_for(SOON, 3);
    let kinds: Vec<_> = calls.iter().map(kind).collect();
    assert_eq!(kinds, ["expiring", "expiring", "ended"]);
    let body = |call: &Call| serde_json::from_slice::<Value>(&call.body).unwrap();
    let at = |value: &Value| {
        let text = value.as_str().unwrap();
        sundown::wire::time::parse(text).unwrap().as_millis()
    };
    let [first, second, ended] = [0, 1, 2].map(|index| body(&calls[index]));
    assert_ne!(first["event_id"], second["event_id"]);
    assert!(at(&second["expires_at"]) > at(&first["expires_at"]));
    assert_eq!(second["expires_at"], ended["ended_at"]);
    for process in [tracker, handler] {
        stop(process);
    }
    assert_eq!(receiver.calls().len(), 3);
}
