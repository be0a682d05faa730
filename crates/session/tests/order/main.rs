//! Endings do not depend on the order of arrival.
//!
//! A history is shuffled within the allowed lateness, repeated and cut anywhere; the endings are those of
//! the model, which sorts all events by event time and folds them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot continue panics with what it found"
)]

mod earlier_version;
mod history;
mod limits;
mod model;
mod subject;
mod trials;

use std::collections::BTreeSet;

use proptest::prelude::*;

use history::{Features, History, Step, histories};
use subject::{EndedSession, Tracker};

const FEATURES: Features = Features {
    by_user: true,
    by_match: true,
    rotations: true,
    limits: false,
};

const LIMITS: Features = Features {
    limits: true,
    ..FEATURES
};

fn follow_the_model(history: &History) -> Result<(), TestCaseError> {
    let (ended, _) = run(history, true);
    let mut found: Vec<model::Ending> = ended.iter().map(|one| one.ending.clone()).collect();
    found.sort();
    let grace = history.grace.max(history.lateness);
    let expected = model::endings(&history.events, &history.edits, grace, history.lateness);
    prop_assert_eq!(found, expected);
    Ok(())
}

proptest! {
    #[test]
    fn endings_are_those_of_the_sorted_events(history in histories(FEATURES)) {
        follow_the_model(&history)?;
    }

    #[test]
    fn the_limit_of_a_users_sessions_follows_the_sorted_events(history in histories(LIMITS)) {
        follow_the_model(&history)?;
    }

    #[test]
    fn a_restore_changes_no_ending_by_limit(history in histories(LIMITS)) {
        let ((mut restored, left), (mut whole, expected_left)) = (run(&history, true), run(&history, false));
        restored.sort();
        whole.sort();
        prop_assert_eq!(restored, whole);
        prop_assert_eq!(left, expected_left);
    }

    #[test]
    fn no_session_ends_before_it_started(history in histories(FEATURES)) {
        for one in run(&history, true).0 {
            prop_assert!(one.started_at.is_none_or(|at| at <= one.ending.ended_at), "{:?}", one);
        }
    }

    /// The event id is derived from session id, start (or else end) and reason.
    #[test]
    fn event_ids_are_distinct(history in histories(FEATURES)) {
        let (ended, _) = run(&history, true);
        let ids: BTreeSet<_> = ended.iter().map(EndedSession::event_id_inputs).collect();
        prop_assert_eq!(ids.len(), ended.len(), "{:?}", ended);
    }

    #[test]
    fn a_restore_changes_no_ending(history in histories(FEATURES)) {
        let ((mut restored, left), (mut whole, expected_left)) = (run(&history, true), run(&history, false));
        // A revocation of many sessions ends them in the order of their slots.
        restored.sort();
        whole.sort();
        prop_assert_eq!(restored, whole);
        prop_assert_eq!(left, expected_left);
    }
}

/// Returns the endings in the order in which they were emitted, and how many sessions are left.
fn run(history: &History, cut: bool) -> (Vec<EndedSession>, usize) {
    let mut tracker = Tracker::new(history.lateness, history.grace);
    for step in &history.steps {
        match step {
            Step::Record { event, arrival } => tracker.apply(event, *arrival),
            Step::Advance(watermark) => tracker.advance(*watermark),
            Step::Cut if cut => tracker.cut(),
            Step::Cut => _ = tracker.commit(),
            Step::Policies(timeouts) => tracker.set_timeouts(timeouts),
        }
    }
    tracker.advance(1_000_000);
    (tracker.ended, tracker.table.len())
}
