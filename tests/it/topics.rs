//! `sundown topics` on a real cluster.

use std::time::Duration;

use serde_json::Value;
use sundown::kafka::topics::{
    ClockSource, TimestampType, TopicAdmin, TopicError, require_for_tracker,
};

use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Stream};
use crate::support::topic::{Isolation, NewRecord};

const SOON: Duration = Duration::from_secs(60);

/// What `sundown topics …` printed, and whether it succeeded.
fn topics(kafka: &Kafka, prefix: &str, args: &[&str]) -> (bool, String, String) {
    let mut sundown = Launch::sundown()
        .args(["topics", "-b", kafka.bootstrap(), "--topic-prefix", prefix])
        .args(args)
        .start();
    let success = sundown.wait(SOON).success();
    (
        success,
        sundown.text(Stream::Stdout),
        sundown.text(Stream::Stderr),
    )
}

/// The same for a command that succeeds and prints JSON.
fn json(kafka: &Kafka, prefix: &str, args: &[&str]) -> Vec<Value> {
    let (success, stdout, stderr) = topics(kafka, prefix, &[args, &["-o", "json"]].concat());
    assert!(success, "{stderr}");
    serde_json::from_str(&stdout).expect("JSON")
}

fn find<'a>(list: &'a [Value], topic: &str) -> &'a Value {
    list.iter()
        .find(|entry| entry["topic"] == topic)
        .unwrap_or_else(|| panic!("{topic} is not listed"))
}

#[test]
fn what_is_planned_is_created_once_and_can_be_used() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    let planned = json(kafka, &prefix, &["plan"]);
    assert!(planned.iter().all(|step| step["action"] == "create"));
    assert_eq!(
        json(kafka, &prefix, &["describe"]),
        [] as [Value; 0],
        "a plan changes nothing"
    );

    let created = json(kafka, &prefix, &["create"]);
    assert!(created.iter().all(|step| step["action"] == "created"));
    let expected = [
        ("session_logs", 3),
        ("session_logs.dlq", 3),
        ("expired_sessions", 3),
        ("expired_sessions.dlq", 3),
        ("expiring_sessions", 3),
        ("sundown.checkpoint", 3),
        ("sundown.policies", 1),
        ("sundown.processes", 1),
        ("sundown.watermarks", 1),
        ("sundown.audit", 1),
    ];
    let described = json(kafka, &prefix, &["describe"]);
    let partitions: Vec<_> = described
        .iter()
        .map(|topic| {
            let count = topic["partitions"].as_array().expect("a list").len();
            (topic["topic"].as_str().expect("a name").to_owned(), count)
        })
        .collect();
    assert_eq!(
        partitions,
        expected.map(|(name, count)| (prefix.clone() + name, count))
    );

    let config = |topic: &str, key: &str| {
        let topic = find(&described, &(prefix.clone() + topic));
        topic["configs"][key].as_str().map(str::to_owned)
    };
    for (topic, key, value) in [
        ("session_logs", "cleanup.policy", "delete"),
        ("session_logs", "message.timestamp.type", "LogAppendTime"),
        (
            "sundown.processes",
            "message.timestamp.type",
            "LogAppendTime",
        ),
        ("sundown.processes", "cleanup.policy", "compact,delete"),
        ("sundown.checkpoint", "cleanup.policy", "compact"),
        ("sundown.policies", "cleanup.policy", "compact"),
        ("sundown.watermarks", "cleanup.policy", "compact"),
        ("expired_sessions", "retention.ms", "604800000"),
    ] {
        assert_eq!(config(topic, key).as_deref(), Some(value), "{topic} {key}");
    }

    kafka.produce(
        &(prefix.clone() + "session_logs"),
        [NewRecord::new("foobar", "{}")],
    );
    let described = json(kafka, &prefix, &["describe"]);
    let source = find(&described, &(prefix.clone() + "session_logs"));
    assert_eq!(source["partitions"][0]["end_offset"], 1);
    let again = json(kafka, &prefix, &["create"]);
    assert!(again.iter().all(|step| step["action"] == "keep"));
}

#[test]
fn existing_topics_are_left_and_their_differences_reported() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    let source = prefix.clone() + "session_logs";
    let endings = prefix.clone() + "expired_sessions";
    kafka.create_topic(&source, 5, &[("retention.ms", "-1")]);
    kafka.create_topic(&endings, 2, &[("retention.ms", "1000")]);

    let (success, _, hint) = topics(kafka, &prefix, &["create"]);
    assert!(success, "{hint}");
    assert!(hint.contains("Existing topics are not changed"), "{hint}");

    let planned = json(kafka, &prefix, &["plan"]);
    assert_eq!(
        find(&planned, &source)["differences"],
        serde_json::json!(["message.timestamp.type is CreateTime, should be LogAppendTime"]),
        "kept for ever is long enough"
    );
    assert_eq!(
        find(&planned, &endings)["differences"],
        serde_json::json!([
            "partitions is 2, should be 5",
            "retention.ms is 1000, should be at least 604800000"
        ])
    );
    // What was created is laid out like the source topic that was there.
    for topic in ["sundown.checkpoint", "expiring_sessions"] {
        let step = find(&planned, &(prefix.clone() + topic));
        assert_eq!(
            (&step["action"], &step["partitions"]),
            (&"keep".into(), &5.into())
        );
    }
    // The checkpoint follows the source topic, whatever is asked for.
    let planned = json(kafka, &prefix, &["plan", "--partitions", "7"]);
    assert_eq!(
        find(&planned, &(prefix + "sundown.checkpoint"))["action"],
        "keep"
    );
}

#[test]
fn a_reset_needs_a_yes_and_leaves_empty_topics() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    let source = prefix.clone() + "session_logs";
    json(kafka, &prefix, &["create", "--partitions", "2"]);
    kafka.produce(&source, [NewRecord::new("a", "1")]);

    // Tests have no terminal to be asked on.
    let (success, _, error) = topics(kafka, &prefix, &["reset"]);
    assert!(!success);
    assert!(error.contains("pass --yes"), "{error}");
    assert_eq!(kafka.read(&source, Isolation::ReadCommitted).len(), 1);

    let reset = json(kafka, &prefix, &["reset", "--yes"]);
    assert!(reset.iter().all(|step| step["action"] == "created"));
    assert_eq!(find(&reset, &source)["partitions"], 2, "as many as before");
    assert_eq!(kafka.read(&source, Isolation::ReadCommitted), []);
}

#[test]
fn a_topic_that_cannot_be_created_again_is_not_deleted() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    json(kafka, &prefix, &["create"]);
    let reset = ["reset", "--yes", "--replication-factor", "99"];
    let (success, _, error) = topics(kafka, &prefix, &reset);
    assert!(!success);
    assert!(error.contains("set --replication-factor"), "{error}");
    let again = json(kafka, &prefix, &["create"]);
    assert!(
        again.iter().all(|step| step["action"] == "keep"),
        "{again:?}"
    );
}

#[test]
fn refusals_and_silence_are_reported_with_a_remedy() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    let (success, _, error) = topics(kafka, &prefix, &["create", "--replication-factor", "99"]);
    assert!(!success);
    assert!(error.contains("set --replication-factor"), "{error}");

    let unreachable = ["-X", "bootstrap.servers=127.0.0.1:1", "plan"];
    let (success, _, error) = topics(kafka, &prefix, &unreachable);
    assert!(!success);
    assert!(
        error.contains("cannot reach Kafka at 127.0.0.1:1"),
        "{error}"
    );
    assert!(error.contains("-b HOST:PORT"), "{error}");
}

fn names(prefix: &str) -> sundown::kafka::Topics {
    use clap::Parser;
    let cli = ["sundown", "topics", "plan", "--topic-prefix", prefix];
    sundown::cli::Cli::parse_from(cli).global.topics.topics()
}

#[tokio::test]
async fn a_tracker_reports_topics_that_are_missing_or_do_not_fit() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    let admin = TopicAdmin::new(&kafka.client()).expect("client");

    let missing = require_for_tracker(&admin, &names(&prefix), ClockSource::Brokers).await;
    let Err(error @ TopicError::Missing { .. }) = missing else {
        panic!("{missing:?}");
    };
    assert!(
        error.to_string().contains("sundown topics create"),
        "{error}"
    );

    json(kafka, &prefix, &["create", "--partitions", "2"]);
    let source = require_for_tracker(&admin, &names(&prefix), ClockSource::Brokers)
        .await
        .expect("fits");
    assert_eq!(
        (source.partitions, source.timestamps),
        (2, TimestampType::LogAppendTime)
    );

    let other = unique_prefix("topics");
    let compact = [("cleanup.policy", "compact")];
    kafka.create_topic(&(other.clone() + "sundown.checkpoint"), 4, &compact);
    json(kafka, &other, &["create", "--partitions", "2"]);
    let unfit = require_for_tracker(&admin, &names(&other), ClockSource::Brokers).await;
    let Err(error @ TopicError::PartitionMismatch { .. }) = unfit else {
        panic!("{unfit:?}");
    };
    assert!(error.to_string().contains("4 partitions"), "{error}");
}

/// With other settings, old state, old policies or the check of clocks would be lost in silence.
#[tokio::test]
async fn settings_that_break_promises_are_refused_with_the_command_that_changes_them() {
    let kafka = Kafka::shared();
    let admin = TopicAdmin::new(&kafka.client()).expect("client");
    let cases = [
        ("sundown.checkpoint", "cleanup.policy", "delete"),
        ("sundown.checkpoint", "cleanup.policy", "compact,delete"),
        ("sundown.policies", "cleanup.policy", "delete"),
        ("sundown.watermarks", "cleanup.policy", "delete"),
        ("sundown.processes", "message.timestamp.type", "CreateTime"),
    ];
    for (topic, property, value) in cases {
        let prefix = unique_prefix("settings");
        json(kafka, &prefix, &["create", "--partitions", "1"]);
        let names = names(&prefix);
        let require = |clock| require_for_tracker(&admin, &names, clock);
        require(ClockSource::Brokers).await.expect("fits");
        kafka.alter_topic(&format!("{prefix}{topic}"), property, value);
        // The broker applies the change some time after it has accepted it.
        let refusal = async {
            loop {
                if let Err(error) = require(ClockSource::Brokers).await {
                    return error.to_string();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let error = tokio::time::timeout(SOON, refusal).await.expect("refused");
        for words in [topic, property, value, "kafka-configs.sh"] {
            assert!(error.contains(words), "'{words}' is not in: {error}");
        }
        let trusting = require(ClockSource::Local).await;
        assert_eq!(trusting.is_ok(), topic == "sundown.processes");
    }
}

#[test]
fn topics_grow_and_never_shrink() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("topics");
    json(kafka, &prefix, &["create", "--partitions", "2"]);
    let grown = json(kafka, &prefix, &["grow", "--partitions", "4"]);
    for topic in [&grown[0], &grown[1]] {
        assert_eq!(
            (&topic["before"], &topic["partitions"]),
            (&2.into(), &4.into())
        );
    }
    let flags = ["-b", kafka.bootstrap(), "--topic-prefix", &prefix];
    let shrink = ["topics", "grow", "--partitions", "3"];
    let mut refused = Launch::sundown().args(shrink).args(flags).start();
    assert!(!refused.wait(SOON).success());
    let error = refused.text(Stream::Stderr);
    assert!(error.contains("has 4 partitions"), "{error}");
}
