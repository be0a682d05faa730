//! Random histories, and the logs in which they may arrive.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{Edit, Event, Kind, Target, Timeouts, ends};

/// The features that a history may contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// Events by user, with and without an exception.
    pub(crate) by_user: bool,
    /// Events by attributes or of all users.
    pub(crate) by_match: bool,
    pub(crate) rotations: bool,
    /// Policies limit the sessions of a user.
    pub(crate) limits: bool,
}

/// What happened, and how it arrived.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) lateness: i64,
    pub(crate) grace: i64,
    /// Each event once, in the order of its first record.
    pub(crate) events: Vec<Event>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A record and its timestamp, which is the time of its arrival.
    Record {
        event: Event,
        arrival: i64,
    },
    Advance(i64),
    /// Commits, loses the table and restores it.
    Cut,
    Policies(Timeouts),
}

const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const USERS: [&str; 2] = ["ann", "joe"];
const TENANTS: [&str; 2] = ["acme", "globex"];

/// A session id belongs to one user and one tenant: attributes that change within the lateness take
/// effect when they are read.
fn owner(features: Features, id: usize) -> (&'static str, &'static str) {
    // Under a limit, each user has three sessions of one tenant.
    let tenant = if features.limits { 0 } else { id / 2 };
    (USERS[id % 2], TENANTS[tenant])
}

type RawEvent = (i64, usize, Kind, u8, i64, Option<i64>, u8);

/// Histories whose events are displaced by less than the lateness, and repeated.
pub(crate) fn histories(features: Features) -> impl Strategy<Value = History> {
    let timeouts = || {
        let one = || (8..30_i64, prop::option::of(12..60_i64));
        (one(), one(), 1..3_usize).prop_map(move |(acme, globex, limit)| Timeouts {
            by_tenant: BTreeMap::from([("acme".to_owned(), acme), ("globex".to_owned(), globex)]),
            max_sessions: features.limits.then_some(limit),
        })
    };
    let kind = prop_oneof![
        12 => Just(Kind::Activity),
        3 => Just(Kind::Login),
        2 => Just(Kind::Logout),
        1 => Just(Kind::Revoke),
        1 => Just(Kind::Rotated),
    ];
    let event = (
        0..12_i64,
        if features.limits { 0..6 } else { 0..3_usize },
        kind,
        any::<u8>(),
        0..7_i64,
        prop::option::weighted(0.3, 0..7_i64),
        any::<u8>(),
    );
    let epochs = vec((timeouts(), vec(event, 1..14)), 1..4);
    (1..8_i64, select(&[0, 3, 30][..]), epochs)
        .prop_map(move |(lateness, grace, epochs)| build(features, lateness, grace, epochs))
}

fn build(
    features: Features,
    lateness: i64,
    grace: i64,
    epochs: Vec<(Timeouts, Vec<RawEvent>)>,
) -> History {
    let mut now = 1_000;
    let mut last_end = i64::MIN / 2;
    let mut last_logins = [i64::MIN / 2; IDS.len()];
    let mut history = History {
        lateness,
        grace,
        events: Vec::new(),
        edits: Vec::new(),
        steps: Vec::new(),
    };
    for (timeouts, raw) in epochs {
        // Everything before an edit has arrived, and no session waits for its successor.
        now += 3 * lateness;
        history.steps.push(Step::Advance(now));
        history.steps.push(Step::Policies(timeouts.clone()));
        history.edits.push(Edit { at: now, timeouts });
        now += 2 * lateness;
        let mut arrivals = Vec::new();
        for (wait, id, kind, target, delay, repeated, step) in raw {
            now += wait;
            let is_login = kind == Kind::Login;
            // After a late end, of several logins only the latest is known, and limits count from there.
            let kind = if is_login && features.limits && now - last_logins[id] <= 2 * lateness {
                Kind::Activity
            } else {
                kind
            };
            if is_login {
                last_logins[id] = now;
            }
            let Some(event) = event(features, now, id, kind, target) else {
                continue;
            };
            if ends(event.kind) {
                // Of two different logouts within the lateness the first to be read counts.
                if now - last_end <= 2 * lateness {
                    continue;
                }
                last_end = now;
            }
            for delay in [Some(delay), repeated].into_iter().flatten() {
                // Less than the lateness and than any timeout.
                arrivals.push((now + delay % lateness, event.clone(), step));
            }
        }
        arrivals.sort_by_key(|(arrival, ..)| *arrival);
        for (arrival, event, step) in arrivals {
            if !history.events.contains(&event) {
                history.events.push(event.clone());
            }
            if step % 3 == 0 {
                history.steps.push(Step::Advance(arrival));
            }
            history.steps.push(Step::Record { event, arrival });
            if step % 5 == 0 {
                history.steps.push(Step::Cut);
            }
        }
        now += lateness;
    }
    history
}

fn event(features: Features, at: i64, id: usize, kind: Kind, target: u8) -> Option<Event> {
    if kind == Kind::Rotated && !features.rotations {
        return None;
    }
    let (user, tenant) = owner(features, id);
    let broad = ends(kind) && kind != Kind::Rotated;
    let target = match target % 6 {
        0 if broad && features.by_user => Target::User {
            user: user.to_owned(),
            except: (target > 128 && features.by_match).then(|| IDS[id].to_owned()),
        },
        1 if broad && features.by_match => Target::Match {
            tenant: (target > 60).then(|| tenant.to_owned()),
        },
        _ => Target::Session {
            id: IDS[id].to_owned(),
            user: user.to_owned(),
            tenant: tenant.to_owned(),
        },
    };
    Some(Event { at, target, kind })
}
