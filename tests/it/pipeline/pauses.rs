//! Paused partitions.

use serde_json::{Value, json};
use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::process::Stream;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const PAUSED: i32 = 1;
/// Longer than it takes to pause a partition while the machine is busy.
const LIMITS: Limits = Limits {
    idle: 15_000,
    absolute: None,
    lateness: 1_000,
};

fn activity(session: &str) -> NewRecord {
    let now = Clock::default().wall().as_millis();
    let event = json!({"user_id": 7, "session_id": session, "activity_timestamp": now});
    NewRecord::new(session, event.to_string())
}

fn partitions(installation: &Installation<'_>, args: &[&str]) -> String {
    let args = [&["partitions"], args].concat();
    let mut process = installation.sundown(&args).start();
    let status = process.wait(SOON);
    assert!(status.success(), "{}", process.text(Stream::Stderr));
    process.text(Stream::Stdout)
}

fn ended(installation: &Installation<'_>, session: &str) -> bool {
    let endings = installation.endings();
    endings.iter().any(|ending| ending.session == session)
}

#[test]
fn nothing_ends_on_a_paused_partition_until_it_is_resumed_and_then_everything_due() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&["--routing", "keyed"]);
    tracker.await_ready();
    let before = installation.key_on(PAUSED);
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, [activity(&before)]);
    installation.await_checkpoint(&before);

    let why = "an incident";
    let output = partitions(&installation, &["pause", "tracker", "1", "--reason", why]);
    assert_eq!(output, "tracker partition 1 paused\n");
    let note = |tracker: &crate::support::role::RoleProcess| {
        eventually(SOON, "word of the pause", || {
            let readiness = tracker.readiness();
            assert_eq!(readiness["ok"], true, "a pause fails no probe: {readiness}");
            let note = readiness["notes"]["paused"].as_str()?;
            note.contains("partitions 1 ").then_some(())
        });
    };
    note(&tracker);
    assert!(!ended(&installation, &before), "it took too long to pause");
    let list: Value =
        serde_json::from_str(&partitions(&installation, &["list", "-o", "json"])).expect("JSON");
    assert_eq!(
        (&list[0]["role"], &list[0]["partition"]),
        (&json!("tracker"), &json!(PAUSED))
    );
    assert_eq!(list[0]["reason"], why);

    // On another tracker it is paused all the same.
    tracker.stop();
    let tracker = installation.tracker(&["--routing", "keyed"]);
    tracker.await_ready();
    note(&tracker);
    let during = installation.key_on(PAUSED);
    let elsewhere: Vec<String> = (0..PARTITIONS)
        .filter(|partition| *partition != PAUSED)
        .map(|partition| installation.key_on(partition))
        .collect();
    let records = elsewhere.iter().chain([&during]).map(|id| activity(id));
    installation
        .kafka
        .produce(&logs, records.collect::<Vec<_>>());
    // Both are due once those that were active later have ended elsewhere.
    eventually(SOON, "endings on the other partitions", || {
        elsewhere
            .iter()
            .all(|id| ended(&installation, id))
            .then_some(())
    });
    assert!(!ended(&installation, &before) && !ended(&installation, &during));
    assert_eq!(tracker.metric("sundown_tracker_partitions", "paused"), 1);

    partitions(&installation, &["resume", "tracker", "1"]);
    eventually(SOON, "what was due", || {
        (ended(&installation, &before) && ended(&installation, &during)).then_some(())
    });
    eventually(SOON, "no more word of it", || {
        tracker.readiness()["notes"].is_null().then_some(())
    });
    installation.verify();
}

#[test]
fn a_partition_that_is_not_there_cannot_be_paused() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let mut process = installation
        .sundown(&["partitions", "pause", "handler", "3"])
        .start();
    assert_eq!(process.wait(SOON).code(), Some(1));
    let error = process.text(Stream::Stderr);
    assert!(error.contains("there is no partition 3"), "{error}");
}
