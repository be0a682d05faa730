//! Trackers apply the policies of the topic: at once, and not before they have read them.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use sundown::clock::Clock;

use super::{activity, apply, policy, reports, run, tenant};
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::{Limits, millis};
use crate::support::role::RoleProcess;
use crate::support::topic::{BROKER_TIMEOUT, NewRecord};
use crate::support::wait::eventually;

/// Sessions without a policy of their own end soon.
const LIMITS: Limits = Limits {
    idle: 2_000,
    absolute: None,
    lateness: 500,
};

fn produce(installation: &Installation<'_>, records: impl IntoIterator<Item = NewRecord>) {
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, records);
}

/// The session's terminal event, if there is one.
fn ending(installation: &Installation<'_>, session: &str) -> Option<Value> {
    let records = installation.read("expired_sessions").into_iter();
    let mut endings = records.map(|record| record.json());
    endings.find(|ending| ending["session_id"] == session)
}

fn await_ending(installation: &Installation<'_>, session: &str) -> Value {
    eventually(SOON, "the session's end", || ending(installation, session))
}

/// Waits until a session of this tenant that starts now is over: so much time has passed for all
/// other sessions of its partition, 1, too.
fn await_end_of_new_session(installation: &Installation<'_>, tenant: &str) -> Value {
    let session = installation.key_on(1);
    produce(installation, [activity(&session, tenant)]);
    await_ending(installation, &session)
}

fn millis_of_end(ending: &Value) -> i64 {
    millis(ending["ended_at"].as_str().expect("an end"))
}

/// Waits until as many trackers apply this generation of the policy; returns the number of live
/// sessions under it on all of them.
fn await_generation(
    installation: &Installation<'_>,
    trackers: usize,
    name: &str,
    generation: u64,
) -> u64 {
    eventually(SOON, "the generation in all reports", || {
        let mut sessions = Vec::new();
        for report in reports(installation) {
            let policies = report["policies"].as_array()?;
            let policy = policies.iter().find(|policy| policy["name"] == name)?;
            if policy["generation"] == generation {
                sessions.push(policy["sessions"].as_u64()?);
            }
        }
        (sessions.len() == trackers).then(|| sessions.iter().sum())
    })
}

/// A tracker, and a session that a policy lets be idle for an hour.
fn session_of_an_hour(installation: &Installation<'_>) -> (RoleProcess, String) {
    apply(installation, &tenant("acme", "1h")).succeeded();
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let acme = installation.key_on(1);
    produce(installation, [activity(&acme, "acme")]);
    (tracker, acme)
}

#[test]
fn edits_reach_running_sessions_both_ways_and_deletions_too() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let both = |acme: &str, umbrella: &str| tenant("acme", acme) + &tenant("umbrella", umbrella);
    apply(&installation, &both("1h", "12s")).succeeded();
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let [acme, umbrella] = [0, 1].map(|partition| installation.key_on(partition));
    produce(
        &installation,
        [activity(&acme, "acme"), activity(&umbrella, "umbrella")],
    );
    let started = Clock::default().wall().as_millis();
    installation.await_checkpoint(&umbrella);

    // Sooner for one, later for the other, and neither started again.
    apply(&installation, &both("1s", "1h")).succeeded();
    let ended = await_ending(&installation, &acme);
    assert_eq!(ended["reason"], "idle_timeout");
    assert_eq!(ended["policy"]["name"], "acme");
    assert_eq!(ended["policy"]["generation"], 2);
    let due = started + 12_000;
    while millis_of_end(&await_end_of_new_session(&installation, "probe")) < due {}
    assert_eq!(
        ending(&installation, &umbrella),
        None,
        "more than 12 s have passed; an hour has not"
    );

    // Without its policy, it falls under the built-in one.
    run(&installation, &["delete", "umbrella"]).succeeded();
    let ended = await_ending(&installation, &umbrella);
    assert_eq!(ended["policy"]["name"], "built-in");
    tracker.stop();
}

#[test]
fn what_cannot_be_used_changes_nothing_and_is_counted() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let (tracker, acme) = session_of_an_hour(&installation);
    let contradiction = r#"{"apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
        "metadata": {"name": "acme", "generation": 2}, "spec": {"idleTimeout": "0s"}}"#;
    for value in ["{nonsense", contradiction] {
        let topic = installation.topic("sundown.policies");
        let record = NewRecord::new("acme", value);
        installation.kafka.produce(&topic, [record]);
    }
    tracker.await_metric("sundown_tracker_rejected_policies_total", "", 2);
    let entry = tracker.await_message("rejected a policy record");
    assert_eq!(entry["level"], "ERROR");
    await_end_of_new_session(&installation, "probe");
    assert_eq!(ending(&installation, &acme), None);
    assert_eq!(await_generation(&installation, 1, "acme", 1), 1);

    // The next valid one counts again.
    apply(&installation, &tenant("acme", "1s")).succeeded();
    await_ending(&installation, &acme);
    tracker.stop();
}

#[test]
fn a_restarted_tracker_ends_nothing_by_other_rules() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let (tracker, acme) = session_of_an_hour(&installation);
    installation.await_checkpoint(&acme);
    // By the built-in rules, its end is overdue from here on.
    await_end_of_new_session(&installation, "probe");
    tracker.stop();

    // A transaction keeps the topic from being read to its end.
    let topic = installation.topic("sundown.policies");
    let writer: BaseProducer = installation
        .kafka
        .client()
        .set("transactional.id", &topic)
        .create()
        .expect("a producer");
    writer
        .init_transactions(BROKER_TIMEOUT)
        .expect("a fresh start");
    writer.begin_transaction().expect("a transaction");
    writer
        .send(BaseRecord::<str, str>::to(&topic).key("other"))
        .expect("a tombstone on its way");
    writer.flush(BROKER_TIMEOUT).expect("a tombstone written");
    let tracker = installation.tracker(&[]);
    tracker.await_message("assigned");
    tracker.await_unready("policies", "reading the policies");
    tracker.await_unready("restore", "partitions are being restored");
    assert_eq!(ending(&installation, &acme), None, "no rules, no endings");
    writer.commit_transaction(BROKER_TIMEOUT).expect("a commit");
    await_end_of_new_session(&installation, "probe");
    assert_eq!(ending(&installation, &acme), None, "an hour has not passed");
    assert_eq!(await_generation_of(&installation, &tracker, "acme"), (1, 1));
    tracker.stop();
}

/// The generation of the policy that the only live tracker applies, and its sessions.
fn await_generation_of(
    installation: &Installation<'_>,
    tracker: &RoleProcess,
    name: &str,
) -> (u64, u64) {
    let pid = tracker.process.id();
    eventually(SOON, "the tracker's report", || {
        let report = reports(installation)
            .into_iter()
            .find(|report| report["pid"] == pid)?;
        let policies = report["policies"].as_array()?.clone();
        let policy = policies.into_iter().find(|policy| policy["name"] == name)?;
        Some((policy["generation"].as_u64()?, policy["sessions"].as_u64()?))
            .filter(|(_, sessions)| *sessions > 0)
    })
}

#[test]
fn all_trackers_report_the_active_generation_and_its_sessions() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    apply(&installation, &policy("default", "{idleTimeout: 1h}")).succeeded();
    let trackers = [(); 2].map(|()| installation.tracker(&[]));
    for tracker in &trackers {
        tracker.await_ready();
    }
    let sessions: Vec<_> = (0..12)
        .map(|number| installation.key_on(number % 3))
        .collect();
    produce(
        &installation,
        sessions.iter().map(|session| activity(session, "acme")),
    );
    eventually(SOON, "all sessions under the policy", || {
        (await_generation(&installation, 2, "default", 1) == 12).then_some(())
    });
    apply(&installation, &policy("default", "{idleTimeout: 2h}")).succeeded();
    assert_eq!(await_generation(&installation, 2, "default", 2), 12);
    for tracker in trackers {
        tracker.stop();
    }
}
