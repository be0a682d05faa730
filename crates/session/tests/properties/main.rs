//! Properties of the session core on any input, within the lateness or not: a restore at any commit
//! makes no difference, nor does the order of a hash table, and bounds hold. Which endings are right is
//! the subject of `tests/order`.
//!
//! `PROPTEST_CASES=20000 cargo test --release -p sundown-session` tries more cases.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot continue panics with what it found"
)]

mod bursts;
mod economy;
mod generate;
mod order;

mod subject;
mod values;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use sundown_session::EndReason;

use generate::{
    Act, MAX_ACTS, Record, Scenario, crowded_scenarios, scenarios, scenarios_under_one_policy_set,
};
use subject::{Outcome, Tracker};
use values::{Output, Verdict};

/// Later than any deadline that a scenario may have.
const THE_END: i64 = 8_000_000_000_000_000;

proptest! {
    /// As long as no event comes late, when the tracker got to run changes nothing
    /// but when an ending is noticed.
    #[test]
    fn endings_do_not_depend_on_when_the_watermark_moved(
        scenario in scenarios_under_one_policy_set(),
        kept in vec(prop::bool::weighted(0.2), MAX_ACTS),
    ) {
        let acts = without_late_events(&scenario);
        let mut often = Tracker::new(&scenario);
        let mut seldom = Tracker::new(&scenario);
        let (mut endings_often, mut endings_seldom) = (Vec::new(), Vec::new());
        for (index, act) in acts.iter().enumerate() {
            endings_often.extend(endings(often.act(act)));
            if kept.get(index) == Some(&true) || !matches!(act, Act::Advance { .. }) {
                endings_seldom.extend(endings(seldom.act(act)));
            }
        }
        endings_often.extend(endings(often.act(&the_end())));
        endings_seldom.extend(endings(seldom.act(&the_end())));
        endings_often.sort();
        endings_seldom.sort();
        prop_assert_eq!(endings_seldom, endings_often);
    }

    #[test]
    fn an_earlier_watermark_changes_nothing(
        scenario in scenarios(),
        distances in vec(1..10_000_i64, MAX_ACTS),
    ) {
        let mut ahead = Tracker::new(&scenario);
        let mut back = Tracker::new(&scenario);
        for (act, distance) in with_the_end(&scenario).zip(distances.into_iter().cycle()) {
            prop_assert_eq!(back.act(&act), ahead.act(&act), "{:?}", act);
            if let Act::Advance { watermark, limit } = act {
                let earlier = Act::Advance { watermark: watermark - distance, limit };
                prop_assert_eq!(back.act(&earlier), Outcome::default());
            }
            prop_assert_eq!(back.table.watermark(), ahead.table.watermark());
        }
        prop_assert_eq!(back.checkpoint_log, ahead.checkpoint_log);
    }

    #[test]
    fn a_restore_changes_no_output(scenario in scenarios()) {
        let mut whole = Tracker::new(&scenario);
        let mut cut = Tracker::new(&scenario);
        for act in with_the_end(&scenario) {
            let (mut outcome, mut expected) = (cut.act(&act), whole.act(&act));
            if is_broad(&act) {
                // Many sessions end in the order of their slots.
                outcome.outputs.sort();
                expected.outputs.sort();
            }
            prop_assert_eq!(outcome, expected, "{:?}", act);
            if let Act::Commit { crash: true, .. } = act {
                cut.restore();
                prop_assert_eq!(cut.table.len(), whole.table.len());
                prop_assert_eq!(cut.policy_counts(), whole.policy_counts());
                prop_assert_eq!(cut.table.watermark(), whole.table.watermark());
            }
        }
    }

    /// A table may be restored under other policies than those under which it was lost.
    #[test]
    fn a_table_restored_under_other_policies_ends_the_same_sessions(scenario in scenarios()) {
        let mut whole = Tracker::new(&scenario);
        let mut cut = Tracker::new(&scenario);
        for act in with_the_end(&scenario) {
            let (mut expected, mut outcome) = (whole.act(&act), Outcome::default());
            if let Act::Policies(rules) = &act {
                cut.act(&Act::Commit { position: cut.position(), now: 0, limit: 0, crash: true });
                cut.restore_under(rules);
            } else {
                outcome = cut.act(&act);
            }
            let ended = |output: &Output| matches!(output, Output::Ended { .. });
            expected.outputs.retain(ended);
            outcome.outputs.retain(ended);
            expected.outputs.sort();
            outcome.outputs.sort();
            prop_assert_eq!(outcome.outputs, expected.outputs, "{:?}", act);
        }
    }

    /// A late logout is acceptable where the log is gone, a wrong one is not. Attributes stay as they
    /// are: with them, activity that is assumed would change the policy as well.
    #[test]
    fn sessions_assumed_active_end_no_sooner_than_they_would_have(
        scenario in scenarios().prop_map(without_attributes),
    ) {
        let mut whole = Tracker::new(&scenario);
        let mut cut = Tracker::new(&scenario);
        let mut latest = i64::MIN;
        let mut over = BTreeMap::new();
        let mut affected = Vec::new();
        for act in with_the_end(&scenario) {
            if let Act::Event(record) = &act {
                latest = latest.max(counted_time(&scenario, record));
            }
            for ending in endings(whole.act(&act)) {
                over.insert(identity(&ending), ());
            }
            for ending in endings(cut.act(&act)) {
                let session = identity(&ending);
                if timed_out(&ending) && affected.contains(&session) {
                    prop_assert!(over.contains_key(&session), "{ending:?} came too soon");
                }
            }
            if matches!(act, Act::Commit { crash: true, .. }) && affected.is_empty() {
                affected = cut.live_sessions();
                cut.restore_without_log(latest);
            }
        }
    }

    /// At the bound, events that would start another session are as if they had not
    /// been: those that run end exactly as they would have without them.
    #[test]
    fn a_full_table_treats_the_sessions_it_has_like_any_other(scenario in crowded_scenarios()) {
        let mut full = Tracker::new(&scenario);
        let mut roomy = Tracker::new(&Scenario {
            settings: values::Settings { max_sessions: usize::MAX, ..scenario.settings },
            ..scenario.clone()
        });
        for act in with_the_end(&scenario) {
            let outcome = full.act(&act);
            prop_assert!(full.table.len() <= scenario.settings.max_sessions);
            if outcome.verdict == Some(Verdict::Refused) {
                prop_assert_eq!(full.table.len(), scenario.settings.max_sessions);
                prop_assert_eq!(outcome.outputs, vec![]);
            } else {
                prop_assert_eq!(outcome, roomy.act(&act), "{:?}", act);
            }
        }
    }

    /// The hash's key is random in each process; no output may depend on it.
    #[test]
    fn nothing_depends_on_the_order_of_the_hash_table(
        scenario in scenarios(),
        hash_key in any::<(u64, u64)>(),
    ) {
        let mut one = Tracker::new(&scenario);
        let mut other = Tracker::new(&Scenario { hash_key, ..scenario.clone() });
        for act in with_the_end(&scenario) {
            prop_assert_eq!(one.act(&act), other.act(&act));
        }
        prop_assert_eq!(one.checkpoint_log, other.checkpoint_log);
    }

    /// What a restore has to replay was read within the slack, or is not committed yet.
    #[test]
    fn replay_is_bounded_by_the_slack(scenario in scenarios()) {
        let mut tracker = Tracker::new(&scenario);
        let mut commits: Vec<(i64, i64)> = Vec::new();
        for act in &scenario.acts {
            let Act::Commit { position, now, crash, .. } = *act else {
                tracker.act(act);
                continue;
            };
            // The wall clock may go back, which makes the slack last longer.
            let now = commits.last().map_or(now, |&(latest, _)| latest.max(now));
            tracker.act(&Act::Commit { position, now, limit: usize::MAX, crash });
            commits.push((now, position));
            let stored = commits.iter().filter(|(at, _)| at + scenario.settings.slack <= now);
            let stored = stored.map(|(_, position)| *position).max();
            prop_assert!(stored.is_none_or(|at| tracker.committed.replay_from >= at));
        }
    }
}

fn is_broad(act: &Act) -> bool {
    matches!(act, Act::Event(record) if record.event.session.is_none())
}

/// The time at which an event counts: no client clock can make a session immortal.
fn counted_time(scenario: &Scenario, record: &Record) -> i64 {
    if record.event.at > record.timestamp + scenario.settings.max_future_skew {
        record.timestamp
    } else {
        record.event.at
    }
}

/// What happens in the scenario, and in the end every session that can expire does.
fn with_the_end(scenario: &Scenario) -> impl Iterator<Item = Act> {
    scenario.acts.iter().cloned().chain([the_end()])
}

fn the_end() -> Act {
    Act::Advance {
        watermark: THE_END,
        limit: 3,
    }
}

fn without_attributes(mut scenario: Scenario) -> Scenario {
    for act in &mut scenario.acts {
        if let Act::Event(record) = act {
            record.event.attributes = None;
        }
    }
    scenario
}

/// The scenario without the events that are displaced by more than the lateness, and without those of
/// clocks that are ahead: those save a session if they come before its end is noticed.
fn without_late_events(scenario: &Scenario) -> Vec<Act> {
    let (mut watermark, mut latest) = (i64::MIN, i64::MIN);
    // The lateness counts up to the timeouts only.
    let rules = scenario.rules.iter().chain([&scenario.fallback]);
    let timeouts = rules.flat_map(|rule| [Some(rule.idle), rule.absolute]);
    let lateness = timeouts
        .flatten()
        .fold(scenario.settings.allowed_lateness, i64::min);
    let on_time = |act: &&Act| match act {
        Act::Advance { watermark: to, .. } => {
            watermark = watermark.max(*to);
            true
        }
        Act::Event(record) => {
            let at = record.event.at;
            let in_order = at + lateness > watermark && at + lateness >= latest;
            let counts = counted_time(scenario, record) == at && in_order;
            if counts {
                latest = latest.max(at);
            }
            counts
        }
        Act::Policies(_) | Act::Commit { .. } => true,
    };
    scenario.acts.iter().filter(on_time).cloned().collect()
}

fn endings(outcome: Outcome) -> impl Iterator<Item = Output> {
    let outputs = outcome.outputs.into_iter();
    outputs.filter(|output| matches!(output, Output::Ended { .. }))
}

/// The id and the start of a session.
fn identity(output: &Output) -> (String, Option<i64>) {
    match output {
        Output::Ended {
            session,
            started_at,
            ..
        } => (session.clone(), *started_at),
        Output::Expiring {
            session,
            started_at,
            ..
        } => (session.clone(), Some(*started_at)),
    }
}

fn timed_out(output: &Output) -> bool {
    use EndReason::{AbsoluteTimeout, IdleTimeout};
    matches!(
        output,
        Output::Ended {
            reason: IdleTimeout | AbsoluteTimeout,
            ..
        }
    )
}
