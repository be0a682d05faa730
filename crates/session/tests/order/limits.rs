//! The limit of a user's sessions, in examples.

use std::collections::BTreeMap;

use crate::model::{Ending, Event, Kind, Reason, Target, Timeouts};
use crate::subject::Tracker;

const SECOND: i64 = 1_000;
const T: i64 = 1_764_000_000_000;

/// Two sessions a user, five seconds of lateness, an hour idle.
fn tracker() -> Tracker {
    let mut tracker = Tracker::new(5 * SECOND, 30 * SECOND);
    let hour = (3_600 * SECOND, None);
    tracker.set_timeouts(&Timeouts {
        by_tenant: BTreeMap::from([("acme".to_owned(), hour)]),
        max_sessions: Some(2),
    });
    tracker
}

fn apply(tracker: &mut Tracker, records: &[(&str, Kind, i64)]) {
    for (id, kind, second) in records {
        let event = Event {
            at: T + second * SECOND,
            target: Target::Session {
                id: (*id).to_owned(),
                user: "joe".to_owned(),
                tenant: "acme".to_owned(),
            },
            kind: *kind,
        };
        tracker.apply(&event, T + second * SECOND);
    }
}

fn endings(tracker: &Tracker) -> Vec<Ending> {
    tracker.ended.iter().map(|one| one.ending.clone()).collect()
}

#[test]
fn the_least_recently_active_session_ends_when_another_one_exceeds_the_limit() {
    let mut tracker = tracker();
    apply(
        &mut tracker,
        &[
            ("laptop", Kind::Login, 0),
            ("phone", Kind::Login, 10),
            ("laptop", Kind::Activity, 20),
            ("tablet", Kind::Login, 30),
        ],
    );
    tracker.advance(T + 39 * SECOND);
    assert_eq!(tracker.ended, [], "other events may still arrive");
    tracker.cut();
    tracker.advance(T + 40 * SECOND);
    let expected = Ending {
        session: "phone".to_owned(),
        reason: Reason::SessionLimit,
        ended_at: T + 35 * SECOND,
    };
    assert_eq!(endings(&tracker), [expected]);
    assert_eq!(tracker.table.len(), 2);
}

#[test]
fn a_logout_that_arrives_after_the_login_that_follows_it_makes_room() {
    let mut tracker = tracker();
    apply(
        &mut tracker,
        &[
            ("laptop", Kind::Login, 0),
            ("phone", Kind::Login, 10),
            ("tablet", Kind::Login, 30),
            ("laptop", Kind::Logout, 29),
        ],
    );
    tracker.advance(T + 60 * SECOND);
    let expected = Ending {
        session: "laptop".to_owned(),
        reason: Reason::Logout,
        ended_at: T + 29 * SECOND,
    };
    assert_eq!(endings(&tracker), [expected]);
    assert_eq!(tracker.table.len(), 2);
}

#[test]
fn activity_of_an_ended_session_revives_nothing_and_its_login_starts_another() {
    let mut tracker = tracker();
    apply(
        &mut tracker,
        &[
            ("laptop", Kind::Login, 0),
            ("phone", Kind::Login, 10),
            ("tablet", Kind::Login, 30),
            ("laptop", Kind::Activity, 36),
        ],
    );
    tracker.advance(T + 41 * SECOND);
    assert_eq!(endings(&tracker).len(), 1);
    assert_eq!(tracker.table.len(), 2, "the activity was under way");
    apply(&mut tracker, &[("laptop", Kind::Login, 50)]);
    tracker.advance(T + 70 * SECOND);
    let ended: Vec<String> = tracker
        .ended
        .iter()
        .map(|one| one.ending.session.clone())
        .collect();
    assert_eq!(ended, ["laptop", "phone"]);
}

#[test]
fn a_late_logout_from_before_a_session_leaves_its_start_and_the_check_where_they_are() {
    let mut tracker = tracker();
    apply(
        &mut tracker,
        &[
            ("laptop", Kind::Login, 0),
            ("phone", Kind::Login, 10),
            ("tablet", Kind::Login, 30),
            ("tablet", Kind::Login, 32),
            ("tablet", Kind::Logout, 29),
        ],
    );
    tracker.advance(T + 60 * SECOND);
    let expected = [
        ("tablet", Reason::Logout, 29),
        ("laptop", Reason::SessionLimit, 35),
    ];
    let expected = expected.map(|(session, reason, second)| Ending {
        session: session.to_owned(),
        reason,
        ended_at: T + second * SECOND,
    });
    assert_eq!(endings(&tracker), expected);
}
