//! `sundown check`.

use serde_json::{Value, json};

use crate::monitoring::apiserver::ApiServer;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::{Launch, Stream};

#[test]
fn sends_a_session_through_and_sees_it_end() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let mut check = installation.sundown(&["check"]).start();
    assert!(check.wait(SOON).success(), "{}", check.text(Stream::Stderr));
    let output = check.text(Stream::Stdout);
    assert!(
        output.contains(": logout under policy built-in"),
        "{output}"
    );
    tracker.stop();
}

#[test]
fn names_what_to_look_at_when_nothing_ends_it() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let mut check = installation.sundown(&["check", "--timeout", "1s"]).start();
    assert_eq!(check.wait(SOON).code(), Some(1));
    let output = check.text(Stream::Stderr);
    assert!(
        output.contains("did not end within 1s") && output.contains("check that a tracker runs"),
        "{output}"
    );
}

/// As with a Kafka that has no `spec.kafka.authorization`.
const REFUSED: &str = "Simple authorization ACL rules are configured but not supported in the Kafka cluster configuration.";

#[test]
fn resources_of_strimzi_that_are_not_ready_are_named_with_their_condition() {
    let api = ApiServer::start("strimzi");
    let check = |timeout: &str| {
        let flags = ["check", "--strimzi", "app=sundown", "--timeout", timeout];
        let launch = Launch::sundown().args(flags);
        let mut check = launch.env("KUBECONFIG", api.kubeconfig()).start();
        let succeeded = check.wait(SOON).success();
        let output = check.text(Stream::Stdout) + &check.text(Stream::Stderr);
        (succeeded, output)
    };
    let condition = |kind: &str| {
        json!({"conditions": [
            {"type": kind, "status": "True", "reason": "InvalidResourceException", "message": REFUSED},
        ]})
    };
    let (succeeded, output) = check("1s");
    assert!(!succeeded && output.contains("no KafkaUser"), "{output}");

    let user =
        |status: &Value| api.set_strimzi("KafkaUser", "kafkausers", "sundown-tracker", status);
    user(&condition("NotReady"));
    let topic =
        |name: &str, status: &Value| api.set_strimzi("KafkaTopic", "kafkatopics", name, status);
    topic(
        "sundown-session-logs",
        &json!({"conditions": [{"type": "Ready", "status": "True"}]}),
    );
    topic("sundown-checkpoint", &json!(null));
    let (succeeded, output) = check("1s");
    assert!(!succeeded, "{output}");
    for words in [
        "KafkaUser 'sundown-tracker' is not ready: InvalidResourceException: Simple authorization",
        "KafkaTopic 'sundown-checkpoint' is not ready: Strimzi has not processed it",
        "2 of 3 resources of Strimzi are not ready",
    ] {
        assert!(output.contains(words), "{words}: {output}");
    }

    user(&condition("Ready"));
    topic("sundown-checkpoint", &condition("Ready"));
    let (succeeded, output) = check("60s");
    assert!(succeeded, "{output}");
    assert_eq!(output, "3 resources of Strimzi are ready\n");
}
