//! Session sources, from the API server to ingest processes and back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::installation::Installation;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// A source of JSON records.
fn web(topic: &str) -> Value {
    json!({
        "topics": [topic],
        "when": "value.path != '/healthz'",
        "session": {"id": "value.session", "user": "value.user"},
    })
}

/// The YAML files of a folder of the project.
fn yaml_files(folder: &str) -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    let files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .map(|path| std::fs::read_to_string(path).expect("a text"))
        .collect();
    assert!(!files.is_empty());
    files
}

pub fn each_rule_of_sources_refuses_with_a_remedy(cluster: &Cluster) {
    let namespace = cluster.namespace();
    namespace.try_apply_source(&web("web")).expect("valid");
    let text = json!({"topics": ["t"], "format": "text", "pattern": "(?<id>.*)", "session": {"id": "value.id"}});
    namespace.try_apply_source(&text).expect("valid");
    for recipe in yaml_files("manifests/sources") {
        let recipe: Value = serde_yaml::from_str(&recipe).expect("YAML");
        namespace.try_apply_source(&recipe["spec"]).expect("valid");
    }
    let with = |path: &str, value: Value| {
        let mut spec = web("web");
        match path.split_once('.') {
            Some((outer, inner)) => spec[outer][inner] = value,
            None => spec[path] = value,
        }
        spec
    };
    let long = "a".repeat(4_097);
    let many: Vec<_> = (0..65).map(|number| format!("t{number}")).collect();
    for (spec, words) in [
        (json!({"topics": ["t"]}), "spec.session: Required"),
        (with("session", json!({})), "id or user is needed"),
        (with("topics", json!([])), "at least 1 items"),
        (with("topics", json!(many)), "at most 64 items"),
        (with("topics", json!(["a", "a"])), "uplicate"),
        (with("topics", json!(["a b"])), "spec.topics[0]"),
        (with("format", json!("xml")), "spec.format"),
        (with("format", json!("text")), "format text needs pattern"),
        (with("pattern", json!("(?<a>.)")), "set format: text"),
        (
            json!({"topics": ["t"], "format": "cloudevents", "envelope": "connect", "session": {"id": "value.id"}}),
            "format json only",
        ),
        (with("session.id", json!("")), "spec.session.id"),
        (with("session.id", json!(long)), "spec.session.id"),
        (
            with("session.attributes", json!({"a": ""})),
            "spec.session.attributes",
        ),
        (with("session.usr", json!("value.user")), "usr"),
    ] {
        let refused = namespace
            .try_apply_source(&spec)
            .expect_err(&spec.to_string());
        assert!(refused.contains(words), "{spec}: {refused}");
    }
}

pub fn the_condition_locates_a_typo_in_an_expression(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    let mut spec = web("web");
    namespace.apply_source("web", &spec);
    namespace.await_source("web", "Ready", "True", "Published");
    namespace.await_source("web", "Distributed", "Unknown", "NoIngest");
    let key = format!("source:{}", namespace.key("web"));
    let published = deployment.published();
    assert_eq!(published[&key]["spec"]["topics"], json!(["web"]));
    assert_eq!(published[&key]["metadata"]["generation"], 1);
    let labels = format!("source=\"{}\"", namespace.key("web"));
    assert_eq!(controller.metric("sundown_source_ready", &labels), 1);

    spec["session"]["user"] = json!("value.name + vlaue.user");
    namespace.apply_source("web", &spec);
    let message = namespace.await_source("web", "Ready", "False", "Invalid");
    let place = "spec.session.user: line 1, column 14 of `value.name + vlaue.user`: unknown variable vlaue; did you mean value?";
    assert!(message.contains(place), "{message}");
    assert!(message.contains("generation 1 stays active"), "{message}");
    assert_eq!(deployment.published(), published);
    assert_eq!(controller.metric("sundown_source_ready", &labels), 0);

    spec["session"]["user"] = json!("value.name");
    namespace.apply_source("web", &spec);
    namespace.await_source("web", "Ready", "True", "Published");
    assert_eq!(deployment.published()[&key]["metadata"]["generation"], 3);
    controller.stop();
}

pub fn the_records_of_a_source_are_counted_until_it_is_deleted(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let (namespace, installation) = (&deployment.namespace, &deployment.installation);
    let topic = installation.topic("web");
    installation.kafka.create_topic(&topic, 3, &[]);
    let controller = deployment.controller();
    namespace.apply_source("web", &web(&topic));
    let record = |path: &str| {
        let value = json!({"session": "a", "user": "ann", "path": path});
        NewRecord {
            value: Some(value.to_string().into_bytes()),
            ..NewRecord::default()
        }
    };
    let mut broken = record("/");
    broken.value = Some(b"{}".to_vec());
    let records = [record("/"), record("/healthz"), record("/"), broken];
    assert_eq!(installation.kafka.produce(&topic, records).len(), 4);
    let lag = || {
        let group = installation.topic(&format!("sundown-ingest.{topic}"));
        let lags = (0..3).map(|partition| {
            let labels = format!("consumergroup=\"{group}\",partition=\"{partition}\"");
            controller.value("kafka_consumergroup_lag{", &labels)
        });
        lags.sum::<Option<f64>>()
    };
    eventually(SOON, "the lag before ingest runs", || {
        (lag() == Some(4.0)).then_some(())
    });
    let own = ["ingest", "--commit-interval", "100ms"];
    let ingest = RoleProcess::start(installation.sundown(&own));
    namespace.await_source("web", "Distributed", "True", "AllIngest");
    let counts = json!({"read": 4, "mapped": 2, "skipped": 1, "refused": 1});
    eventually(SOON, "the counts in the status", || {
        let status = &namespace.source("web")["status"];
        let shown = status["records"] == counts && status["lag"] == 0;
        (shown && status["processes"] == "1/1").then_some(())
    });
    eventually(SOON, "no lag", || (lag() == Some(0.0)).then_some(()));
    eventually(SOON, "a watermark for each partition", || {
        (stated(installation) == 3).then_some(())
    });

    // The active generation stays while an edit is invalid, and its records are still read.
    let mut typo = web(&topic);
    typo["when"] = json!("valu.path != '/healthz'");
    namespace.apply_source("web", &typo);
    namespace.await_source("web", "Ready", "False", "Invalid");
    let message = namespace.await_source("web", "Distributed", "False", "Waiting");
    assert!(message.contains("ingest-"), "{message}");
    assert_eq!(installation.kafka.produce(&topic, [record("/")]).len(), 1);
    eventually(SOON, "the fifth record", || {
        (namespace.source("web")["status"]["records"]["mapped"] == 3).then_some(())
    });

    // A deleted source holds no endings.
    namespace.delete_source("web");
    eventually(SOON, "the tombstone of the source", || {
        deployment.published().is_empty().then_some(())
    });
    eventually(SOON, "no watermark of the source", || {
        (stated(installation) == 0).then_some(())
    });
    eventually(SOON, "the end of the source's metrics", || {
        (controller.metric("sundown_source_processes", "") == 0).then_some(())
    });
    ingest.stop();
    controller.stop();
}

/// How many partitions ingest has stated a watermark of.
fn stated(installation: &Installation<'_>) -> usize {
    let records = installation.read("sundown.watermarks");
    let ingest = records.iter().filter(|record| {
        let key = record.key.as_deref().unwrap_or_default();
        key.starts_with(b"ingest/")
    });
    let last: BTreeMap<_, _> = ingest
        .map(|record| (&record.key, record.value.is_some()))
        .collect();
    last.values().filter(|stated| **stated).count()
}

pub fn a_topic_stays_with_its_source(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply_source("second", &web("web"));
    namespace.await_source("second", "Ready", "True", "Published");
    namespace.apply_source("first", &web("web"));
    let message = namespace.await_source("first", "Ready", "False", "SharedTopic");
    let second = namespace.key("second");
    assert!(message.contains(&format!("'{second}'")), "{message}");
    namespace.delete_source("second");
    namespace.await_source("first", "Ready", "True", "Published");
    controller.stop();
}
