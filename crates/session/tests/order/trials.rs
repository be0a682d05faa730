//! Inputs from the field, each with its only right outcome.

use std::collections::BTreeMap;

use sundown_session::Timestamp;

use crate::model::{Ending, Event, Kind, Reason, Target, Timeouts};
use crate::subject::Tracker;

const SECOND: i64 = 1_000;
const T: i64 = 1_764_000_000_000;

use Kind::{Activity, Login, Logout, Revoke};

#[test]
fn an_event_out_of_order_within_the_lateness_splits_no_session() {
    let mut tracker = tracker(10 * SECOND, 5 * SECOND);
    for second in [0, 11, 9, 19, 28, 37] {
        tracker.apply(&event("s", Activity, second), T + second.max(11) * SECOND);
    }
    tracker.advance(T + 41 * SECOND);
    assert_eq!(tracker.ended, []);
    tracker.advance(T + 60 * SECOND);
    assert_eq!(endings(&tracker), [ending("s", Reason::Idle, 47)]);
}

#[test]
fn an_event_proves_nothing_while_earlier_ones_may_come_by_way_of_others() {
    let mut tracker = tracker(10 * SECOND, SECOND);
    tracker.table.set_upstream(at(5));
    tracker.apply(&event("s", Activity, 0), T);
    tracker.apply(&event("s", Activity, 15), T + 15 * SECOND);
    // It was on another partition.
    tracker.apply(&event("s", Activity, 8), T + 8 * SECOND);
    assert_eq!(tracker.ended, []);
    tracker.table.set_upstream(at(15));
    tracker.advance(T + 15 * SECOND);
    assert_eq!(tracker.ended, []);
    tracker.apply(&event("s", Activity, 40), T + 40 * SECOND);
    assert_eq!(tracker.ended, [], "there may be others up to then");
    tracker.advance(T + 40 * SECOND);
    assert_eq!(endings(&tracker), [ending("s", Reason::Idle, 25)]);
}

#[test]
fn activity_behind_its_logout_revives_no_session() {
    let mut tracker = tracker(20 * SECOND, SECOND);
    tracker.apply(&event("s", Login, 0), T);
    tracker.apply(&event("s", Logout, 2), T + 2 * SECOND);
    tracker.apply(&event("s", Activity, 1), T + 2 * SECOND);
    assert!(tracker.table.is_empty());
    tracker.advance(T + 60 * SECOND);
    assert_eq!(endings(&tracker), [ending("s", Reason::Logout, 2)]);
}

#[test]
fn a_repeated_logout_ends_once() {
    assert_eq!(
        outcome(&[("s", Login, 0), ("s", Logout, 1), ("s", Logout, 1)]),
        [ending("s", Reason::Logout, 1)]
    );
}

#[test]
fn the_echo_of_a_timeout_as_a_logout_ends_nothing() {
    let mut tracker = tracker(20 * SECOND, SECOND);
    tracker.apply(&event("s", Login, 0), T);
    tracker.advance(T + 30 * SECOND);
    tracker.apply(&event("s", Logout, 31), T + 31 * SECOND);
    assert_eq!(endings(&tracker), [ending("s", Reason::Idle, 20)]);
}

#[test]
fn of_two_logouts_without_a_session_the_first_after_its_start_ends_one_that_turns_up_late() {
    let mut tracker = tracker(10 * SECOND, 5 * SECOND);
    tracker.apply(&event("s", Login, 0), T);
    tracker.advance(T + 16 * SECOND);
    for second in [16, 18] {
        tracker.apply(&event("s", Logout, second), T + second * SECOND);
    }
    tracker.cut();
    for second in [15, 17] {
        tracker.apply(&event("s", Login, second), T + 19 * SECOND);
    }
    tracker.advance(T + 60 * SECOND);
    let logouts = [16, 18].map(|second| ending("s", Reason::Logout, second));
    assert_eq!(endings(&tracker)[1..], logouts);
}

#[test]
fn a_repeated_revocation_of_a_user_spares_later_sessions() {
    let revoke = user_event("joe", Revoke, 1);
    let mut tracker = tracker(20 * SECOND, SECOND);
    tracker.apply(&event("r1", Login, 0), T);
    tracker.apply(&revoke, T + SECOND);
    tracker.apply(&event("r2", Login, 2), T + 2 * SECOND);
    tracker.apply(&revoke, T + 3 * SECOND);
    assert_eq!(endings(&tracker), [ending("r1", Reason::Revoked, 1)]);
}

#[test]
fn a_repeated_logout_spares_the_next_session_of_the_id() {
    assert_eq!(
        outcome(&[
            ("q", Login, 0),
            ("q", Logout, 1),
            ("q", Login, 2),
            ("q", Logout, 1)
        ]),
        [ending("q", Reason::Logout, 1)]
    );
}

#[test]
fn a_login_that_a_revocation_has_overtaken_ends_on_arrival() {
    let mut tracker = tracker(20 * SECOND, 5 * SECOND);
    tracker.apply(&user_event("joe", Revoke, 2), T + 2 * SECOND);
    tracker.apply(&event("d", Login, 0), T + 3 * SECOND);
    assert_eq!(endings(&tracker), [ending("d", Reason::Revoked, 2)]);
}

#[test]
fn a_logout_that_waits_for_the_end_of_an_earlier_session_precedes_a_later_revocation() {
    let mut tracker = tracker(10 * SECOND, 5 * SECOND);
    tracker.apply(&event("s", Activity, 0), T);
    for (second, kind) in [(11, Activity), (12, Login), (13, Logout)] {
        tracker.apply(&event("s", kind, second), T + second * SECOND);
    }
    tracker.apply(&user_event("joe", Revoke, 14), T + 14 * SECOND);
    assert_eq!(tracker.ended, [], "activity from before 10 may still come");
    tracker.advance(T + 60 * SECOND);
    assert_eq!(
        endings(&tracker),
        [
            ending("s", Reason::Idle, 10),
            ending("s", Reason::Logout, 13)
        ]
    );
}

/// Endings by the time all records have been read, before any timeout.
fn outcome(records: &[(&str, Kind, i64)]) -> Vec<Ending> {
    let mut tracker = tracker(20 * SECOND, SECOND);
    for (arrival, (id, kind, second)) in (0..).zip(records) {
        tracker.apply(
            &event(id, *kind, *second),
            T + (*second).max(arrival) * SECOND,
        );
    }
    endings(&tracker)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(T + second * SECOND)
}

fn tracker(idle: i64, lateness: i64) -> Tracker {
    let mut tracker = Tracker::new(lateness, 30 * SECOND);
    tracker.set_timeouts(&Timeouts {
        by_tenant: BTreeMap::from([("acme".to_owned(), (idle, None))]),
        max_sessions: None,
    });
    tracker
}

fn event(id: &str, kind: Kind, second: i64) -> Event {
    Event {
        at: T + second * SECOND,
        target: Target::Session {
            id: id.to_owned(),
            user: "joe".to_owned(),
            tenant: "acme".to_owned(),
        },
        kind,
    }
}

fn user_event(user: &str, kind: Kind, second: i64) -> Event {
    Event {
        at: T + second * SECOND,
        target: Target::User {
            user: user.to_owned(),
            except: None,
        },
        kind,
    }
}

fn endings(tracker: &Tracker) -> Vec<Ending> {
    tracker.ended.iter().map(|one| one.ending.clone()).collect()
}

fn ending(session: &str, reason: Reason, second: i64) -> Ending {
    Ending {
        session: session.to_owned(),
        reason,
        ended_at: T + second * SECOND,
    }
}
