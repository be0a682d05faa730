//! The page of sources.

use serde_json::json;

use super::Console;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;

#[test]
fn sources_are_shown_with_what_became_of_their_records() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let topic = installation.topic("web");
    installation.kafka.create_topic(&topic, 3, &[]);
    let console = Console::start(&installation, &[]);
    let source = json!({
        "apiVersion": "sundown.dev/v1alpha1", "kind": "SessionSource", "metadata": {"name": "web"},
        "spec": {
            "topics": [topic],
            "when": "value.path != '/healthz'",
            "session": {"id": "value.session", "user": "value.user"},
        },
    });
    installation.kafka.produce(
        &installation.topic("sundown.policies"),
        [NewRecord::new("source:web", source.to_string())],
    );
    let row = console.await_json("/api/v1/sources", "the source", |body| {
        body["sources"].get(0).cloned()
    });
    assert_eq!(row["document"], source_with_defaults(source));
    assert_eq!((&row["applied"], &row["processes"]), (&json!(0), &json!(0)));

    let own = ["ingest", "--commit-interval", "100ms"];
    let ingest = RoleProcess::start(installation.sundown(&own));
    let record = |path: &str| {
        let value = json!({"session": "a", "user": "ann", "path": path});
        NewRecord::new("any", value.to_string())
    };
    let records = [record("/"), record("/healthz"), NewRecord::new("any", "{}")];
    installation.kafka.produce(&topic, records);
    let expected = json!({
        "topic": topic, "events": 1, "skipped": 1, "dead_letters": 1, "partitions": 3, "lag": 0,
    });
    console.await_json("/api/v1/sources", "the records of the source", |body| {
        let row = &body["sources"][0];
        let mut shown = row["topics"][0].clone();
        let until = shown.as_object_mut()?.remove("forwarded_until");
        let applied = row["applied"] == 1 && row["processes"] == 1;
        (applied && until.is_some() && shown == expected).then_some(())
    });
    let page = console.client.get("/sources").body;
    for text in [topic.as_str(), "1 of 1 processes"] {
        assert!(page.contains(text), "{page}");
    }
    ingest.stop();
}

fn source_with_defaults(mut source: serde_json::Value) -> serde_json::Value {
    source["spec"]["format"] = json!("json");
    source
}
