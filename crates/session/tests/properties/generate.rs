//! Random scenarios: events in any order, time that stalls and jumps, policy edits, transactions.
//!
//! Spans are small multiples of a unit that each scenario chooses, so that deadlines,
//! events and watermarks meet often, both within a tick of the wheel and turns apart.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sundown_session::EventKind;

use crate::values::{Attributes, Event, Rule, Settings, User};

/// A step of a scenario, with absolute times.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Event(Record),
    Advance {
        watermark: i64,
        limit: usize,
    },
    Policies(Vec<Rule>),
    /// A transaction: everything up to `position` is committed.
    Commit {
        position: i64,
        now: i64,
        limit: usize,
        /// The table is lost after this commit and has to be restored.
        crash: bool,
    },
}

/// An event as the source topic holds it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) event: Event,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// The whole input of a table.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) settings: Settings,
    pub(crate) rules: Vec<Rule>,
    pub(crate) fallback: Rule,
    pub(crate) hash_key: (u64, u64),
    pub(crate) acts: Vec<Act>,
}

/// The bound on the steps of a scenario.
pub(crate) const MAX_ACTS: usize = 120;

/// A step with times in the scenario's unit, relative to its clock.
#[derive(Clone, Debug)]
struct Step {
    /// How far the clock moves before it.
    wait: i64,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Event {
        event: Event,
        at: EventTime,
        record_delay: i64,
        gap: i64,
    },
    Advance {
        delay: i64,
        limit: usize,
    },
    Policies(Vec<Rule>),
    Commit {
        limit: usize,
        crash: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum EventTime {
    Ago(i64),
    Absurd(i64),
}

const YEAR_1: i64 = -62_135_596_800_000;
const YEAR_9999: i64 = 253_402_300_799_999;

/// Ids of every packed kind, two of which have the same digits.
const SESSIONS: [&str; 6] = [
    "6f1f2a30-0f5e-4d2c-9a3e-7b1c2d3e4f50",
    "6f1f2a300f5e4d2c9a3e7b1c2d3e4f50",
    "s",
    "6F1F2A30-0F5E-4D2C-9A3E-7B1C2D3E4F50",
    "a session id too long for the slot, and not of hexadecimal digits",
    "abc123",
];

/// Numbers and strings, alike and different.
const USERS: [(&str, bool); 5] = [
    ("ann", false),
    ("7", true),
    ("7", false),
    ("svc-backup", false),
    ("a user with a rather long name", false),
];

/// Scenarios with everything in them.
pub(crate) fn scenarios() -> impl Strategy<Value = Scenario> {
    scenarios_of(Just(1_000), Just(true))
}

/// Scenarios without policy changes.
pub(crate) fn scenarios_under_one_policy_set() -> impl Strategy<Value = Scenario> {
    scenarios_of(Just(1_000), Just(false))
}

/// Scenarios in which tables are often full.
pub(crate) fn crowded_scenarios() -> impl Strategy<Value = Scenario> {
    scenarios_of(1..4_usize, any::<bool>())
}

fn scenarios_of(
    max_sessions: impl Strategy<Value = usize>,
    policies_change: impl Strategy<Value = bool>,
) -> impl Strategy<Value = Scenario> {
    let start = -1_000_000_000_000_i64..4_000_000_000_000;
    let unit = select(&[1, 13, 997, 61_357][..]);
    (
        (start, unit, any::<(u64, u64)>()),
        (settings(), max_sessions),
        (rules(), fallback()),
        (vec(steps(), 1..MAX_ACTS), policies_change),
    )
        .prop_map(
            |((start, unit, hash_key), (settings, max_sessions), (rules, fallback), steps)| {
                let (mut steps, policies_change) = steps;
                steps.retain(|step| policies_change || !matches!(step.action, Action::Policies(_)));
                Scenario {
                    settings: Settings {
                        allowed_lateness: settings.allowed_lateness * unit,
                        max_future_skew: settings.max_future_skew * unit,
                        slack: settings.slack * unit,
                        max_sessions,
                    },
                    rules: rules.iter().map(|rule| scaled(rule, unit)).collect(),
                    fallback: scaled(&fallback, unit),
                    hash_key,
                    acts: schedule(start, unit, steps),
                }
            },
        )
}

/// Assigns each step its absolute time and its offset.
fn schedule(start: i64, unit: i64, steps: Vec<Step>) -> Vec<Act> {
    let mut now = start;
    let mut position = 0;
    let schedule_one = |step: Step| {
        now += step.wait * unit;
        match step.action {
            Action::Event {
                mut event,
                at,
                record_delay,
                gap,
            } => {
                event.at = match at {
                    EventTime::Ago(delay) => now - delay * unit,
                    EventTime::Absurd(at) => at,
                };
                let offset = position + gap;
                position = offset + 1;
                Act::Event(Record {
                    event,
                    offset,
                    timestamp: now - record_delay * unit,
                })
            }
            Action::Advance { delay, limit } => Act::Advance {
                watermark: now - delay * unit,
                limit,
            },
            Action::Policies(rules) => {
                Act::Policies(rules.iter().map(|rule| scaled(rule, unit)).collect())
            }
            Action::Commit { limit, crash } => Act::Commit {
                position,
                now,
                limit,
                crash,
            },
        }
    };
    steps.into_iter().map(schedule_one).collect()
}

fn scaled(rule: &Rule, unit: i64) -> Rule {
    Rule {
        idle: rule.idle * unit,
        absolute: rule.absolute.map(|span| span * unit),
        warn_before: rule.warn_before.map(|span| span * unit),
        ..rule.clone()
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    (0..6_i64, 0..20_i64, 0..30_i64).prop_map(|(allowed_lateness, max_future_skew, slack)| {
        Settings {
            allowed_lateness,
            max_future_skew,
            slack,
            max_sessions: 0,
        }
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    vec(rule(), 0..4).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("policy-{index}");
        }
        rules
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let globs = prop_oneof![
        2 => Just(Vec::new()),
        1 => vec(select(&["*", "svc-*", "a?n", "7", "*e*h*"][..]), 1..3),
    ];
    let asked = prop_oneof![
        2 => Just(Attributes::new()),
        1 => select(attribute_sets()),
    ];
    let suspend = prop::bool::weighted(0.1);
    (timeouts(), (-2..3, asked, globs, suspend, 1..9_u64)).prop_map(
        |((idle, absolute, warn_before), (priority, attributes, users, suspend, generation))| {
            Rule {
                name: String::new(),
                generation,
                priority,
                idle,
                absolute,
                warn_before: warn_before.map(|before| before % idle),
                attributes,
                users: users.into_iter().map(str::to_owned).collect(),
                suspend,
            }
        },
    )
}

fn timeouts() -> impl Strategy<Value = (i64, Option<i64>, Option<i64>)> {
    let absolute = prop::option::of(1..60_i64);
    let warn_before = prop::option::weighted(0.7, 0..30_i64);
    (1..30_i64, absolute, warn_before)
}

fn fallback() -> impl Strategy<Value = Rule> {
    timeouts().prop_map(|(idle, absolute, _)| Rule {
        name: "built-in".to_owned(),
        generation: 0,
        priority: i32::MIN,
        idle,
        absolute,
        warn_before: None,
        attributes: Attributes::new(),
        users: Vec::new(),
        suspend: false,
    })
}

fn attribute_sets() -> Vec<Attributes> {
    let set = |pairs: &[(&str, &str)]| {
        let owned = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect::<Attributes>()
    };
    vec![
        set(&[]),
        set(&[("tenant", "acme")]),
        set(&[("tenant", "globex")]),
        set(&[("client", "web"), ("tenant", "acme")]),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        70 => 0..6_i64,
        20 => 0..30_i64,
        5 => -10..0_i64,
        1 => 0..40_000_000_i64,
    ];
    let action = prop_oneof![
        20 => events(),
        8 => (delays(), 1..4_usize).prop_map(|(delay, limit)| Action::Advance { delay, limit }),
        2 => rules().prop_map(Action::Policies),
        6 => commits(),
    ];
    (wait, action).prop_map(|(wait, action)| Step { wait, action })
}

fn commits() -> impl Strategy<Value = Action> {
    let limit = prop_oneof![Just(0), 1..3_usize, Just(usize::MAX)];
    (limit, prop::bool::weighted(0.3)).prop_map(|(limit, crash)| Action::Commit { limit, crash })
}

/// How far behind the clock something is.
fn delays() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0_i64), 4 => 0..6_i64, 2 => 0..40_i64, 1 => -30..0_i64]
}

fn events() -> impl Strategy<Value = Action> {
    let at = prop_oneof![
        20 => delays().prop_map(EventTime::Ago),
        1 => select(&[YEAR_1, -1, 0, YEAR_9999][..]).prop_map(EventTime::Absurd),
    ];
    let record_delay = prop_oneof![3 => Just(0_i64), 1 => 0..10_i64];
    let gap = prop_oneof![4 => Just(0_i64), 1 => 1..4_i64];
    (unscheduled_events(), at, record_delay, gap).prop_map(|(event, at, record_delay, gap)| {
        Action::Event {
            event,
            at,
            record_delay,
            gap,
        }
    })
}

/// Events without a time.
fn unscheduled_events() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        12 => Just(EventKind::Activity),
        3 => Just(EventKind::Login),
        1 => Just(EventKind::Logout),
        1 => Just(EventKind::Revoke),
        1 => Just(EventKind::Rotated),
    ];
    let session = prop_oneof![3 => 0..2_usize, 1 => 0..SESSIONS.len()];
    let whole_user = prop::bool::weighted(0.2);
    let named = prop::bool::weighted(0.8);
    let attributes = prop::option::weighted(0.3, select(attribute_sets()));
    (kind, session, 0..USERS.len(), attributes, whole_user, named).prop_map(
        |(kind, session, user, attributes, whole_user, named)| {
            let ends = kind.ends_with().is_some();
            let every_session = ends && whole_user && kind != EventKind::Rotated;
            let (text, number) = USERS[user];
            let user: User = (text.to_owned(), number);
            Event {
                session: (!every_session).then(|| SESSIONS[session].to_owned()),
                user: (named || every_session || !ends).then_some(user),
                at: 0,
                kind,
                attributes,
            }
        },
    )
}
