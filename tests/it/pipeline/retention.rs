//! Session events that retention deletes before a tracker has processed them.

use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 3_000,
    absolute: None,
    lateness: 1_000,
};
/// Longer than a session that nothing happens in.
const LONG: Duration = Duration::from_secs(6);
/// Keeps activity out of checkpoints, so that it has to be replayed.
const SLACK: [&str; 2] = ["--slack", "10m"];

/// A session on each partition, all of them active together.
struct Sessions<'a> {
    installation: &'a Installation<'a>,
    ids: Vec<String>,
}

impl<'a> Sessions<'a> {
    fn new(installation: &'a Installation<'a>) -> Self {
        let ids = (0..PARTITIONS).map(|partition| installation.key_on(partition));
        Self {
            installation,
            ids: ids.collect(),
        }
    }

    /// Returns the time of the last activity.
    fn stay_active(&self, duration: Duration) -> i64 {
        let writer = self.installation.kafka.writer();
        let clock = Clock::default();
        let mut at = 0;
        while clock.elapsed() < duration {
            at = clock.wall().as_millis();
            let events = self.ids.iter().map(|session| {
                let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": at});
                NewRecord::new(session.as_str(), event.to_string())
            });
            writer.write(&self.installation.session_logs(), events);
            thread::sleep(Duration::from_millis(300));
        }
        at
    }

    fn delete_events(&self) {
        let logs = self.installation.session_logs();
        self.installation.kafka.delete_records(&logs);
    }

    /// Waits until each has ended, and checks that it did so once and not too early.
    fn await_ends(&self, last_activity: i64) {
        for session in &self.ids {
            let endings = || {
                let mut endings = self.installation.endings();
                endings.retain(|ending| ending.session == *session);
                endings
            };
            eventually(SOON, "the session's end", || {
                (!endings().is_empty()).then_some(())
            });
            let [ending] = &endings()[..] else {
                panic!("{:?}", endings());
            };
            let idle = ending.ended_at - last_activity;
            assert!(
                idle >= LIMITS.idle,
                "ended {idle} ms after its last activity"
            );
        }
    }
}

#[test]
fn activity_deleted_before_it_was_checkpointed_logs_no_user_out_early() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&SLACK);
    tracker.await_ready();
    let sessions = Sessions::new(&installation);
    let last_activity = sessions.stay_active(LONG);
    installation.await_caught_up();
    tracker.stop();
    sessions.delete_events();

    let tracker = installation.tracker(&SLACK);
    sessions.await_ends(last_activity);
    let degraded = tracker.metric("sundown_tracker_degraded_restores_total", "");
    assert_eq!(degraded, 3, "restores, one of each partition");
    installation.await_nothing_left();
    tracker.stop();
}

#[test]
fn activity_deleted_before_it_was_read_logs_no_user_out_early() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&SLACK);
    tracker.await_ready();
    let sessions = Sessions::new(&installation);
    sessions.stay_active(Duration::from_secs(1));
    installation.await_caught_up();
    tracker.stop();
    let last_activity = sessions.stay_active(LONG);
    sessions.delete_events();

    let tracker = installation.tracker(&SLACK);
    sessions.await_ends(last_activity);
    installation.await_nothing_left();
    tracker.stop();
}

#[test]
fn activity_deleted_under_a_tracker_that_reads_it_too_late_logs_no_user_out_early() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    // No other tracker takes over.
    let mut tracker = installation.tracker(&["--slack", "10m", "--session-timeout", "60s"]);
    tracker.await_ready();
    let sessions = Sessions::new(&installation);
    sessions.stay_active(Duration::from_secs(1));
    installation.await_caught_up();
    tracker.process.sigstop();
    let last_activity = sessions.stay_active(LONG);
    sessions.delete_events();
    tracker.process.sigcont();
    sessions.await_ends(last_activity);
    installation.await_nothing_left();
    tracker.stop();
}
