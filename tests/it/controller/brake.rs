//! Changes of policies that would end most sessions.

use serde_json::json;
use sundown::controller::brake::CONFIRMATION;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const SESSIONS: usize = 1_200;

pub fn a_change_that_ends_most_sessions_waits_for_a_confirmation(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let (namespace, installation) = (&deployment.namespace, &deployment.installation);
    let controller = deployment.controller();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    let tracker = installation.tracker(&[]);
    namespace.await_condition("p", "Distributed", "True", "AllTrackers");
    let now = sundown::clock::Clock::default().wall().as_millis();
    // Idle for ten minutes.
    let last = now - 600_000;
    let events = (0..SESSIONS).map(|number| {
        let session = format!("session-{number}");
        let event = json!({"user_id": number, "session_id": session, "activity_timestamp": last});
        NewRecord::new(session, event.to_string())
    });
    installation
        .kafka
        .produce(&installation.session_logs(), events);
    eventually(SOON, "live sessions", || {
        (namespace.get("p")["status"]["sessions"] == json!(SESSIONS)).then_some(())
    });

    namespace.apply("p", &json!({"idleTimeout": "5m"}));
    let message = namespace.await_condition("p", "Ready", "False", "Held");
    let numbers = format!("{SESSIONS} of {SESSIONS} live sessions");
    assert!(message.contains(&numbers), "{message}");
    assert!(message.contains("generation 1 stays active"), "{message}");
    // A change that lengthens the timeout is not held; the next change is counted again.
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    namespace.await_published("p");
    namespace.apply("p", &json!({"idleTimeout": "6m"}));
    let message = namespace.await_condition("p", "Ready", "False", "Held");
    assert!(message.contains("generation 3 stays active"), "{message}");
    assert_eq!(installation.endings().len(), 0);

    // The confirmation of an earlier generation counts for that one alone.
    namespace.annotate("p", CONFIRMATION, "3");
    namespace.await_condition("p", "Ready", "False", "Held");
    namespace.annotate("p", CONFIRMATION, "4");
    namespace.await_published("p");
    eventually(SOON, "the endings", || {
        (installation.endings().len() == SESSIONS).then_some(())
    });
    tracker.stop();
    controller.stop();
}
