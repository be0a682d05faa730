//! How little goes to the checkpoint topic.

use sundown_session::EventKind;

use crate::generate::{Act, Record, Scenario};
use crate::subject::Tracker;
use crate::values::{Attributes, Event, Rule, Settings};

const MINUTE: i64 = 60_000;

#[test]
fn a_chatty_session_is_stored_once_a_slack() {
    let mut tracker = tracker();
    let mut now = 0;
    for offset in 0..36_000 {
        tracker.act(&activity("s", now, offset));
        now += 100;
        if offset % 5 == 4 {
            tracker.act(&commit(now, offset + 1));
        }
    }
    let stores = tracker.checkpoint_log.len();
    assert!((55..=60).contains(&stores), "{stores} records in an hour");
}

#[test]
fn activity_that_moves_nothing_is_not_stored() {
    let mut tracker = tracker();
    for minute in 0..30 {
        tracker.act(&activity("s", 0, minute));
        tracker.act(&commit(minute * MINUTE, minute + 1));
    }
    assert_eq!(tracker.checkpoint_log.len(), 1, "its start alone");
    assert_eq!(tracker.committed.replay_from, 30);
}

#[test]
fn a_session_that_starts_and_ends_in_one_transaction_leaves_one_record() {
    let mut tracker = tracker();
    for (offset, session) in (0..).zip(["a", "b", "c"]) {
        tracker.act(&activity(session, offset, offset));
    }
    tracker.act(&Act::Advance {
        watermark: 600 * MINUTE,
        limit: 10,
    });
    tracker.act(&commit(600 * MINUTE, 3));
    assert_eq!(tracker.checkpoint_log.len(), 3, "their endings alone");
    assert!(tracker.live_sessions().is_empty());
}

#[test]
fn a_warning_is_given_again_if_the_deadline_moved_on_while_the_table_was_lost() {
    let warned_under = |idle| Rule {
        name: "default".to_owned(),
        idle,
        warn_before: Some(5 * MINUTE),
        ..fallback()
    };
    let advance = |watermark| Act::Advance {
        watermark,
        limit: 10,
    };
    for (idle_after, warnings) in [(30, 0), (20, 0), (60, 1)] {
        let mut tracker = tracker();
        tracker.act(&Act::Policies(vec![warned_under(30 * MINUTE)]));
        tracker.act(&activity("s", 0, 0));
        let outcome = tracker.act(&advance(25 * MINUTE));
        assert_eq!(outcome.outputs.len(), 1, "the first warning");
        tracker.act(&commit(25 * MINUTE, 1));
        tracker.restore_under(&[warned_under(idle_after * MINUTE)]);
        let outcome = tracker.act(&advance((idle_after - 1).max(25) * MINUTE));
        let ends = usize::from(idle_after == 20);
        assert_eq!(outcome.outputs.len(), warnings + ends, "{idle_after} min");
    }
}

pub(crate) fn tracker() -> Tracker {
    Tracker::new(&Scenario {
        settings: Settings {
            allowed_lateness: 0,
            max_future_skew: MINUTE,
            slack: MINUTE,
            max_sessions: 10,
        },
        rules: Vec::new(),
        fallback: fallback(),
        hash_key: (0, 0),
        acts: Vec::new(),
    })
}

fn fallback() -> Rule {
    Rule {
        name: "built-in".to_owned(),
        generation: 0,
        priority: 0,
        idle: 30 * MINUTE,
        absolute: None,
        warn_before: None,
        attributes: Attributes::new(),
        users: Vec::new(),
        suspend: false,
    }
}

pub(crate) fn activity(session: &str, at: i64, offset: i64) -> Act {
    Act::Event(Record {
        event: Event {
            session: Some(session.to_owned()),
            user: Some(("ann".to_owned(), false)),
            at,
            kind: EventKind::Activity,
            attributes: None,
        },
        offset,
        timestamp: at,
    })
}

fn commit(now: i64, position: i64) -> Act {
    Act::Commit {
        position,
        now,
        limit: usize::MAX,
        crash: false,
    }
}
