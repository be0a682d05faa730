//! Many events at once, and many endings at once.

use std::sync::Arc;

use proptest::prelude::*;
use sundown_session::table::TableConfig;
use sundown_session::{
    Effect, Event, EventKind, Policy, PolicySet, SessionTable, Span, Subject, Timestamp, UserRef,
};

use crate::generate::{Act, scenarios};
use crate::subject::Tracker;

const HOUR: i64 = 3_600_000;

proptest! {
    #[test]
    fn a_burst_has_the_outcome_of_its_events_one_by_one(scenario in scenarios()) {
        let mut one_by_one = Tracker::new(&scenario);
        let mut at_once = Tracker::new(&scenario);
        let are_events = |a: &Act, b: &Act| matches!((a, b), (Act::Event(_), Act::Event(_)));
        for run in scenario.acts.chunk_by(are_events) {
            let outcomes: Vec<_> = run.iter().map(|act| one_by_one.act(act)).collect();
            let (verdicts, outputs) = at_once.act_at_once(run);
            let expected = outcomes.iter().filter_map(|outcome| outcome.verdict);
            prop_assert!(expected.eq(verdicts));
            let expected: Vec<_> = outcomes.into_iter().flat_map(|outcome| outcome.outputs).collect();
            prop_assert_eq!(expected, outputs);
        }
        prop_assert_eq!(one_by_one.checkpoint_log, at_once.checkpoint_log);
    }
}

#[test]
fn due_sessions_beyond_the_limit_end_in_later_calls_unless_events_arrive() {
    let mut table = table();
    let mut effects = Vec::new();
    for (offset, session) in (0..).zip(["a", "b", "c", "d", "e"]) {
        apply(
            &mut table,
            session,
            EventKind::Activity,
            offset,
            &mut effects,
        );
    }
    assert!(table.advance(Timestamp::from_millis(HOUR + 10), 2, &mut effects));
    assert_eq!(
        ended(&effects),
        ["a", "b"],
        "in the order in which they fell due"
    );
    effects.clear();

    // Late, but before its end was noticed.
    apply(&mut table, "c", EventKind::Activity, HOUR - 1, &mut effects);
    apply(&mut table, "d", EventKind::Logout, 100, &mut effects);
    assert_eq!(ended(&effects), ["d"]);
    effects.clear();
    apply(&mut table, "d", EventKind::Activity, HOUR + 9, &mut effects);

    assert!(!table.advance(Timestamp::from_millis(HOUR + 10), 2, &mut effects));
    assert_eq!(ended(&effects), ["e"]);
    effects.clear();
    assert!(table.advance(Timestamp::from_millis(2 * HOUR + 9), 1, &mut effects));
    assert!(!table.advance(Timestamp::from_millis(2 * HOUR + 9), 1, &mut effects));
    assert_eq!(ended(&effects), ["c", "d"]);
    assert!(table.is_empty());
}

fn table() -> SessionTable {
    let config = TableConfig {
        allowed_lateness: Span::ZERO,
        ..TableConfig::default()
    };
    let hour = Policy::built_in(Span::from_millis(HOUR), None);
    let policies = PolicySet::new(Vec::new(), hour).unwrap();
    SessionTable::new(config, Arc::new(policies), Timestamp::MIN)
}

/// An event whose time is its offset in milliseconds.
fn apply(
    table: &mut SessionTable,
    session: &str,
    kind: EventKind,
    offset: i64,
    effects: &mut Vec<Effect>,
) {
    let at = Timestamp::from_millis(offset);
    let user = Some(UserRef {
        text: "ann",
        number: false,
    });
    let event = Event {
        subject: Subject::Session { id: session, user },
        at,
        kind,
        attributes: None,
        initiator: None,
    };
    table.apply(event, offset, at, effects);
}

fn ended(effects: &[Effect]) -> Vec<String> {
    let session = |effect: &Effect| match effect {
        Effect::Ended(ending) => ending.session.to_string(),
        other => panic!("{other:?} is no ending"),
    };
    effects.iter().map(session).collect()
}
