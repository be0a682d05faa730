//! Wrong clocks of applications and trackers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;

use crate::support::faketime;
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::{Ending, Limits};
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 3_000,
    absolute: None,
    lateness: 1_000,
};
/// Longer than a session that nothing happens in.
const LONG: Duration = Duration::from_secs(6);
/// Brokers refuse records from more than an hour ahead.
const OFF: i64 = 50 * 60 * 1_000;

fn now() -> i64 {
    Clock::default().wall().as_millis()
}

/// An application whose clock is wrong by so many milliseconds reports activity.
fn activity(session: &str, wrong_by: i64) -> NewRecord {
    let at = now() + wrong_by;
    let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": at});
    NewRecord {
        timestamp: Some(at),
        ..NewRecord::new(session, event.to_string())
    }
}

/// Sessions, each served by applications with these clocks.
struct Sessions<'a> {
    installation: &'a Installation<'a>,
    clocks: Vec<(String, Vec<i64>)>,
}

impl<'a> Sessions<'a> {
    fn new(installation: &'a Installation<'a>, clocks: &[&[i64]]) -> Self {
        let session = |clocks: &&[i64]| (installation.key_on(0), clocks.to_vec());
        Self {
            installation,
            clocks: clocks.iter().map(session).collect(),
        }
    }

    /// Keeps all sessions active while something is done, and until when they were.
    fn active_while(&self, something: impl FnOnce()) -> i64 {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let application = scope.spawn(|| {
                let writer = self.installation.kafka.writer();
                while !done.load(Ordering::Relaxed) {
                    writer.write(&self.installation.session_logs(), self.activity());
                    thread::sleep(Duration::from_millis(200));
                }
                now() - 1_000
            });
            let _also_after_a_panic = OnDrop(&done);
            something();
            done.store(true, Ordering::Relaxed);
            application.join().expect("the application writes")
        })
    }

    fn activity(&self) -> impl Iterator<Item = NewRecord> {
        let sessions = self.clocks.iter();
        sessions.flat_map(|(session, clocks)| {
            clocks.iter().map(|wrong_by| activity(session, *wrong_by))
        })
    }

    fn endings(&self, number: usize) -> Vec<Ending> {
        let mut endings = self.installation.endings();
        endings.retain(|ending| ending.session == self.clocks[number].0);
        endings
    }

    fn assert_no_user_is_logged_out(&self) {
        for number in 0..self.clocks.len() {
            assert_eq!(self.endings(number), [], "{:?}", self.clocks[number]);
        }
    }

    /// Waits until a session has ended, and checks that it did so once and not too early.
    fn await_end(&self, number: usize, active_until: i64) {
        eventually(SOON, "the session's end", || {
            (!self.endings(number).is_empty()).then_some(())
        });
        let [ending] = &self.endings(number)[..] else {
            panic!("{:?}", self.endings(number));
        };
        assert_eq!(ending.reason, "idle_timeout");
        let idle = ending.ended_at - active_until;
        assert!(idle >= LIMITS.idle, "ended after {idle} ms");
    }
}

/// Ends what the writing thread of [`Sessions::active_while`] waits for.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn applications_with_wrong_clocks(installation: &Installation<'_>) {
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    installation.await_caught_up();
    let sessions = Sessions::new(installation, &[&[0, OFF], &[0, -OFF], &[OFF], &[-OFF]]);
    let [mixed_ahead, mixed_behind, ahead, behind] = [0, 1, 2, 3];
    let mut tracker = Some(tracker);
    let active_until = sessions.active_while(|| {
        thread::sleep(LONG);
        installation.await_caught_up();
        sessions.assert_no_user_is_logged_out();
        if let Some(tracker) = tracker.take() {
            tracker.stop();
        }
        thread::sleep(LONG);
        tracker = Some(installation.tracker(&[]));
        installation.await_caught_up();
        sessions.assert_no_user_is_logged_out();
    });
    for number in [mixed_ahead, mixed_behind, ahead] {
        sessions.await_end(number, active_until);
    }
    installation.await_nothing_left();
    assert_eq!(
        sessions.endings(behind),
        [],
        "its events were too old to start a session"
    );
    let tracker = tracker.expect("it has been started");
    assert!(tracker.metric("sundown_tracker_late_events_total", "") > 0);
    assert!(tracker.metric("sundown_tracker_clamped_events_total", "") > 0);
    tracker.stop();
}

#[test]
fn applications_with_wrong_clocks_log_no_user_out_where_brokers_stamp_records() {
    applications_with_wrong_clocks(&Installation::new(Kafka::shared(), LIMITS));
}

#[test]
fn applications_with_wrong_clocks_log_no_user_out_where_they_stamp_records_themselves() {
    applications_with_wrong_clocks(&Installation::with_create_time(Kafka::shared(), LIMITS));
}

/// A tracker whose wall clock is wrong, and no other of its clocks.
pub fn tracker_with_clock(installation: &Installation<'_>, wrong_by: &str) -> RoleProcess {
    let launch = faketime::preload(Launch::sundown()).env("FAKETIME", wrong_by);
    installation.tracker_of(launch, &[])
}

fn a_tracker_with_a_wrong_clock(wrong_by: &str) {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let sessions = Sessions::new(&installation, &[&[0]]);
    let left = Sessions::new(&installation, &[&[0]]);
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, left.activity());
    installation.await_checkpoint(&left.clocks[0].0);
    tracker.stop();

    sessions.active_while(|| {
        let tracker = tracker_with_clock(&installation, wrong_by);
        tracker.await_unready("clock", "apart");
        thread::sleep(LONG);
        let written = installation.log().records.len();
        tracker.await_metric("sundown_tracker_events_total", "", written as u64 - 1);
        assert_eq!(
            installation.endings(),
            [],
            "with a clock that cannot be trusted"
        );
        tracker.await_unready("clock", "--max-clock-skew");
        tracker.stop();

        let tracker = installation.tracker(&[]);
        installation.await_caught_up();
        sessions.assert_no_user_is_logged_out();
        assert_eq!(left.endings(0).len(), 1, "no user was active in that one");
        tracker.stop();
    });
    let tracker = installation.tracker(&[]);
    installation.verify();
    tracker.stop();
}

#[test]
fn a_tracker_an_hour_ahead_ends_nothing_and_loses_nothing() {
    a_tracker_with_a_wrong_clock("+1h");
}

#[test]
fn a_tracker_an_hour_behind_ends_nothing_and_loses_nothing() {
    a_tracker_with_a_wrong_clock("-1h");
}
