//! Sources that find their topics by a pattern.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tempfile::NamedTempFile;

use super::{LIMITS, start_ingest};
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// A deleted topic has to be missing twice, a minute apart.
const WITHDRAWAL_TIMEOUT: Duration = Duration::from_secs(180);

fn write(installation: &Installation<'_>, topic: &str, sessions: &[&str]) {
    let records = sessions.iter().map(|session| NewRecord {
        value: Some(
            json!({"id": session, "user": "ann"})
                .to_string()
                .into_bytes(),
        ),
        ..NewRecord::default()
    });
    installation.kafka.produce(topic, records);
}

#[test]
fn a_session_that_moves_to_a_new_topic_does_not_end() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let topic = |name: &str| installation.topic(name);
    let (first, second) = (topic("clicks-a"), topic("clicks-b"));
    installation.kafka.create_topic(&first, 2, &[]);
    installation.kafka.create_topic(&topic("other"), 1, &[]);
    write(&installation, &topic("other"), &["other"]);
    let mut source = NamedTempFile::with_suffix(".yaml").expect("a file");
    write!(
        source,
        "apiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: clicks}}\nspec:\n  topicPattern: {}\n  session: {{id: value.id, user: value.user}}\n",
        topic("clicks-.*").replace('.', "[.]").replace("[.]*", ".*"),
    )
    .expect("it is written");
    installation.run(&[
        "source",
        "apply",
        "-f",
        source.path().to_str().expect("UTF-8"),
    ]);
    let ingest = start_ingest(&installation, &[]);
    let tracker = installation.tracker(&[]);
    eventually(SOON, "events of the first topic", || {
        write(&installation, &first, &["moving", "idle"]);
        thread::sleep(Duration::from_millis(300));
        (installation.read("session_logs").len() >= 2).then_some(())
    });
    ingest.await_ready();
    tracker.await_ready();

    // The session is active in a topic that ingest has not found yet.
    installation.kafka.create_topic(&second, 2, &[]);
    let ended = |session: &str| {
        let endings = installation.endings();
        endings.iter().any(|ending| ending.session == session)
    };
    eventually(SOON, "the end of the idle session", || {
        write(&installation, &second, &["moving"]);
        thread::sleep(Duration::from_millis(300));
        assert!(!ended("moving"));
        ended("idle").then_some(())
    });
    // No other topic is read.
    assert!(
        !installation
            .read("session_logs")
            .iter()
            .any(|event| event.json()["session_id"] == "other")
    );

    // A topic that was deleted holds no session.
    installation.kafka.delete_topic(&second);
    eventually(WITHDRAWAL_TIMEOUT, "the end of the other session", || {
        write(&installation, &first, &["another"]);
        thread::sleep(Duration::from_secs(1));
        ended("moving").then_some(())
    });
    ingest.stop();
    tracker.stop();
}
