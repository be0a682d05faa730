//! User and attributes of a session are those of its latest events, in whatever order they arrive.

use sundown_session::EventKind;

use crate::economy::{activity, tracker};
use crate::generate::Act;
use crate::values::{Attributes, Output, User};

const HOUR: i64 = 3_600_000;

/// An event at this time: a login of a user, or activity with a tenant.
fn event(kind: EventKind, at: i64, text: &str) -> Act {
    let Act::Event(mut record) = activity("s", at, at) else {
        panic!("activity is an event");
    };
    record.timestamp = 10;
    record.event.kind = kind;
    match kind {
        EventKind::Login => record.event.user = Some((text.to_owned(), false)),
        _ => {
            let tenant = ("tenant".to_owned(), text.to_owned());
            record.event.attributes = Some(Attributes::from([tenant]));
        }
    }
    Act::Event(record)
}

/// Applies the events and restores the table; returns user and attributes of the session at its end.
fn outcome(acts: &[Act]) -> (User, Attributes) {
    let mut tracker = tracker();
    for act in acts {
        tracker.act(act);
    }
    tracker.act(&Act::Commit {
        position: 100,
        now: 0,
        limit: usize::MAX,
        crash: false,
    });
    tracker.restore();
    let end = Act::Advance {
        watermark: 2 * HOUR,
        limit: 10,
    };
    match tracker.act(&end).outputs.pop() {
        Some(Output::Ended {
            user, attributes, ..
        }) => (user.unwrap(), attributes),
        other => panic!("{other:?} is no ending"),
    }
}

#[test]
fn the_user_is_that_of_the_latest_login_or_else_of_the_first_event() {
    let login = |at, user| event(EventKind::Login, at, user);
    for acts in [
        [login(1, "ann"), login(2, "joe")],
        [login(2, "joe"), login(1, "ann")],
    ] {
        assert_eq!(outcome(&acts).0.0, "joe");
    }
    let Act::Event(mut earlier) = activity("s", 1, 1) else {
        panic!("activity is an event");
    };
    earlier.event.user = Some(("joe".to_owned(), false));
    let acts = [activity("s", 2, 2), Act::Event(earlier)];
    assert_eq!(outcome(&acts).0.0, "joe");
}

#[test]
fn the_attributes_are_those_of_the_latest_event_that_has_any() {
    let tenant = |at, tenant| event(EventKind::Activity, at, tenant);
    for acts in [
        vec![tenant(1, "acme"), tenant(2, "globex")],
        vec![tenant(2, "globex"), tenant(1, "acme")],
        vec![tenant(1, "globex"), tenant(3, "globex"), tenant(2, "acme")],
        vec![tenant(2, "globex"), activity("s", 4, 4), tenant(1, "acme")],
    ] {
        assert_eq!(outcome(&acts).1["tenant"], "globex");
    }
}
