//! The schedule of a simulation, drawn from one seed.

mod ingest;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sundown::kafka::transaction::delivery::Delivery;

use crate::users::USERS;
pub(crate) use ingest::IngestFault;

/// More sessions than a partition has ids for.
pub(crate) const UNLIMITED: usize = 1_000;

/// From this seed on, ingest is between applications and trackers.
pub(crate) const INGEST_SEEDS: u64 = 1_000_000;

/// A simulation from beginning to end.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// The fixed parameters of a simulation. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) partitions: i32,
    pub(crate) trackers: usize,
    /// Sessions that each partition has ids for.
    pub(crate) ids: u32,
    /// Whether the brokers stamp session events.
    pub(crate) append_time: bool,
    /// Whether they stamp process reports. Without that, no clock can be checked, and all are
    /// right.
    pub(crate) clocks_checked: bool,
    pub(crate) allowed_lateness: i64,
    /// Whether no event is out of order by more than the allowed lateness, and neither policies nor
    /// what they depend on changes: then the reference model determines the endings.
    pub(crate) orderly: bool,
    /// Whether trackers trust the keys of all producers.
    pub(crate) keyed: bool,
    /// Whether the brokers' clocks differ.
    pub(crate) clocks_differ: bool,
    /// Whether applications write under any key to any partition.
    pub(crate) misrouted: bool,
    /// How many ingest processes bring events of applications; 0 if applications write session events only.
    pub(crate) ingest: usize,
    /// How many sessions a user may have, if events are routed by user id.
    pub(crate) user_sessions: Option<u32>,
    /// The most live sessions of a partition.
    pub(crate) max_sessions: usize,
    pub(crate) delivery: Delivery,
    pub(crate) end_grace: i64,
    pub(crate) max_future_skew: i64,
    pub(crate) slack: i64,
    pub(crate) commit_interval: u64,
    /// How many outputs, and how many checkpoint records, fill a transaction.
    pub(crate) transaction: usize,
}

/// One fault or event, and how long the simulation runs after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) what: What,
    /// Decides whatever is left open.
    pub(crate) salt: u64,
    /// How long the trackers run before the next step.
    pub(crate) then: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Nothing in particular.
    Wait,
    /// Events of several sessions.
    Events,
    /// One session is active, and active again.
    Chat,
    /// A user logs out everywhere.
    LogOutEverywhere,
    /// Something that is no session event.
    Garbage,
    /// An application writes in a transaction and does not end it yet.
    OpenTransaction,
    /// It ends one, in this way or that.
    EndTransaction,
    /// Policies are edited.
    Policies,
    /// A partition is paused or resumed.
    Pause,
    /// A tracker dies.
    Crash,
    /// A tracker starts.
    Start,
    /// A tracker is stopped for a while, and does not notice.
    Stall,
    /// It goes on.
    Resume,
    /// The group throws a tracker out that is well, or fences it.
    ThrowOut,
    /// The group moves partitions.
    Rebalance,
    /// No broker answers.
    BrokersGone,
    /// They answer again.
    BrokersBack,
    /// A tracker's clock is set.
    SetClock,
    /// A checkpoint partition is compacted.
    Compact,
    /// Retention deletes session events.
    Delete,
    /// Partitions are added to the source topic.
    GrowSource,
    /// Partitions are added to the checkpoint topic.
    GrowCheckpoint,
    /// A broker is cut off from the others, and does not know that it no longer leads its partitions.
    Isolate,
    /// It is back.
    Heal,
    /// Log, checkpoint and committed offset do not belong together.
    Accident,
    /// Everything is in order for a while.
    Calm,
    /// Something happens to ingest.
    Ingest(IngestFault),
}

/// How often each of them happens.
const WEIGHTS: [(What, u32); 25] = [
    (What::Wait, 14),
    (What::Events, 34),
    (What::Chat, 10),
    (What::LogOutEverywhere, 2),
    (What::Garbage, 2),
    (What::OpenTransaction, 4),
    (What::EndTransaction, 6),
    (What::Policies, 3),
    (What::Crash, 5),
    (What::Start, 7),
    (What::Stall, 2),
    (What::Resume, 4),
    (What::ThrowOut, 3),
    (What::Rebalance, 5),
    (What::BrokersGone, 2),
    (What::BrokersBack, 5),
    (What::SetClock, 2),
    (What::Compact, 6),
    (What::Delete, 2),
    (What::GrowSource, 1),
    (What::GrowCheckpoint, 1),
    (What::Isolate, 2),
    (What::Heal, 4),
    (What::Accident, 1),
    (What::Calm, 1),
];

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut settings = Settings {
            partitions: rng.random_range(1..=3),
            trackers: rng.random_range(1..=3),
            ids: rng.random_range(1..=5),
            append_time: rng.random_ratio(2, 3),
            clocks_checked: rng.random_ratio(7, 8),
            allowed_lateness: *[0, 500, 2_000].choose(&mut rng).expect("some"),
            orderly: false,
            keyed: seed.is_multiple_of(2),
            clocks_differ: false,
            misrouted: false,
            ingest: 0,
            user_sessions: None,
            max_sessions: UNLIMITED,
            delivery: Delivery::ExactlyOnce,
            end_grace: 30_000,
            max_future_skew: rng.random_range(8_000..12_000),
            slack: *[0, 1_000, 5_000, 60_000].choose(&mut rng).expect("some"),
            commit_interval: *[0, 100, 500].choose(&mut rng).expect("some"),
            transaction: *[1, 3, 20_000].choose(&mut rng).expect("some"),
        };
        let count = rng.random_range(10..70);
        // Each simulation leaves some kinds of things out, so that others meet.
        let left_out: Vec<bool> = WEIGHTS
            .iter()
            .map(|(what, _)| *what != What::Events && rng.random_ratio(1, 4))
            .collect();
        let mut steps: Vec<Step> = (0..count).map(|_| step(&mut rng, &left_out)).collect();
        if seed % 4 == 2 {
            pause_now_and_then(&mut steps);
        }
        if seed % 3 == 1 {
            keep_order(&mut settings, &mut steps);
        }
        route_anywhere(&mut settings, seed);
        if seed >= INGEST_SEEDS {
            ingest::bring_events(&mut settings, &mut steps, seed);
        } else if seed % 9 == 7 {
            limit_sessions(&mut settings, seed);
        } else if !settings.orderly && seed % 7 == 3 {
            limit_table(&mut settings, seed);
        }
        if seed % 5 == 3 && settings.user_sessions.is_none() && settings.ingest == 0 {
            repeat_outputs(&mut settings, &mut steps);
        }
        Self {
            seed,
            settings,
            steps,
        }
    }
}

/// Without drawing anything: whatever else happens stays as it is without pauses.
fn pause_now_and_then(steps: &mut [Step]) {
    let waits = steps.iter_mut().filter(|step| step.what == What::Wait);
    for step in waits.filter(|step| step.salt % 2 == 0) {
        step.what = What::Pause;
    }
}

/// With a generator of its own, for the same reason. If the keys of all producers are trusted although
/// they should not be, sessions may end before their events have been forwarded: the reference model does
/// not determine the endings.
fn route_anywhere(settings: &mut Settings, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    let is_determined = !(settings.orderly && settings.keyed);
    settings.misrouted = is_determined && settings.partitions > 1 && rng.random_ratio(1, 2);
    settings.clocks_differ = rng.random_ratio(1, 2);
}

/// Without drawing anything, for the same reason.
fn keep_order(settings: &mut Settings, steps: &mut [Step]) {
    settings.orderly = true;
    settings.allowed_lateness = settings.allowed_lateness.max(500);
    settings.end_grace = 3_000;
    for step in steps {
        step.what = match step.what {
            What::Policies => What::LogOutEverywhere,
            What::Delete | What::Accident => What::Events,
            other => other,
        };
    }
}

/// Without drawing anything, for the same reason, and only where events keep their order.
fn limit_sessions(settings: &mut Settings, seed: u64) {
    let limits = [1, 2];
    settings.user_sessions = Some(limits[usize::from(seed / 18 % 2 == 1)]);
    settings.misrouted = false;
    settings.ids = 3 * USERS;
}

/// Without drawing anything, and only where the reference model does not determine the endings.
fn limit_table(settings: &mut Settings, seed: u64) {
    settings.max_sessions = if seed.is_multiple_of(4) { 1 } else { 2 };
    settings.misrouted = false;
}

/// Without drawing anything, for the same reason, and not where few seeds limit the sessions of users.
fn repeat_outputs(settings: &mut Settings, steps: &mut [Step]) {
    settings.delivery = Delivery::AtLeastOnce;
    for step in steps.iter_mut().filter(|step| step.what == What::Accident) {
        step.what = What::Events;
    }
}

fn step(rng: &mut ChaCha8Rng, left_out: &[bool]) -> Step {
    let kept = WEIGHTS.iter().zip(left_out).filter(|(_, out)| !**out);
    let kept: Vec<(What, u32)> = kept.map(|(weight, _)| *weight).collect();
    let (what, _) = *kept
        .choose_weighted(rng, |(_, weight)| *weight)
        .expect("events at least");
    let then = match rng.random_range(0..20) {
        0..6 => 0,
        6..14 => rng.random_range(0..400),
        14..19 => rng.random_range(0..3_000),
        _ => rng.random_range(0..20_000),
    };
    Step {
        what,
        salt: rng.random(),
        then,
    }
}
