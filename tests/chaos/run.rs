//! One run: faults, their end, and the verdict.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::broker_lane;
use crate::installation::Installation;
use crate::journal::Journal;
use crate::kafka::OwnKafka;
use crate::model::{Ending, Expected, Limits};
use crate::network::Network;
use crate::network_lane;
use crate::population::Population;
use crate::schedule::{Lane, SEATS};
use crate::seat::Seat;
use crate::settings::Settings;
use crate::site::Site;

/// Longer than a broker that is away holds up what users do, so that the log tells what has to
/// come out.
const LIMITS: Limits = Limits {
    idle: 8_000,
    absolute: Some(20_000),
    lateness: 5_000,
};
/// Enough for every tracker to have one.
const PARTITIONS: i32 = 6;
/// Sessions at a time, or a little less.
const USERS: usize = 120;
/// Act at a time before it is looked whether that is all.
const STRETCH: Duration = Duration::from_secs(1);
/// Lanes of the network's faults.
const STORMS: u64 = 2;
/// How long nobody does anything, once in a run that is long enough for it.
const LULL: Duration = Duration::from_mins(3);
/// So many faults take several times as long as the lull, for either protocol.
const LONG_RUN: usize = 800;
/// How often trackers are looked after once there are no more faults.
const CARE: Duration = Duration::from_millis(200);

/// Runs half of the faults on trackers of one group protocol.
///
/// # Panics
/// Unless exactly that comes out which has to; tells the whole story then.
pub fn run(kafka: &OwnKafka, network: &Network, settings: &Settings, protocol: &'static str) {
    let name = format!("chaos-{}-{}-{protocol}", settings.seed, std::process::id());
    let site = Site {
        kafka,
        network,
        installation: Installation::with_partitions(kafka, LIMITS, PARTITIONS),
        settings,
        protocol,
        journal: Journal::new(&name, settings.faults / 2),
    };
    eprintln!("{protocol}: {}", site.journal.folder().display());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let seats = go_wrong(&site);
        go_right(&site, seats);
    }));
    let summary = site.journal.summary();
    match outcome {
        Ok(()) => {
            eprintln!("{protocol}: {summary}");
            site.journal.close();
        }
        Err(panic) => {
            eprintln!("{}\n{summary}", site.journal.story());
            eprintln!("logs: {}", site.journal.folder().display());
            eprintln!("the same schedule again: {}", settings.command());
            resume_unwind(panic);
        }
    }
}

/// Injects all faults while users act.
fn go_wrong<'a>(site: &'a Site<'a>) -> Vec<Seat<'a>> {
    let lane = |number| Lane::new(site.settings.seed, number);
    thread::scope(|scope| {
        scope.spawn(|| site.together(|| act(site, lane(0))));
        scope.spawn(|| site.together(|| broker_lane::fail(site, lane(1))));
        for storm in 0..STORMS {
            scope.spawn(move || site.together(|| network_lane::fail(site, lane(2 + storm))));
        }
        let lanes: Vec<_> = (0..SEATS)
            .map(|number| {
                let lane = lane(2 + STORMS + number as u64);
                scope.spawn(move || site.together(|| Seat::new(site, number).fail(lane)))
            })
            .collect();
        let seats = lanes.into_iter().map(|lane| lane.join());
        seats
            .map(|seat| seat.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// Has users act, with pauses, until there are no more faults.
fn act(site: &Site<'_>, mut lane: Lane) {
    let mut users = Population::new(site.settings.seed, USERS, PARTITIONS, LIMITS);
    let writer = site.kafka.writer();
    let topic = site.installation.session_logs();
    let mut lull = (site.settings.faults >= LONG_RUN).then_some(LULL);
    while !site.journal.is_over() {
        let (mut left, silence) = lane.users();
        while !site.journal.is_over() && !left.is_zero() {
            users.act(STRETCH.min(left), &writer, &topic);
            left = left.saturating_sub(STRETCH);
        }
        if let Some(silence) = silence.map(|usual| lull.take().unwrap_or(usual)) {
            site.journal.note(&format!("users: silent for {silence:?}"));
            site.journal.pace(silence);
            site.journal.note("users: active again");
        }
    }
    let so_far = site.installation.endings().len();
    site.journal
        .note(&format!("users: gone; {so_far} endings so far"));
    eprintln!("{so_far} endings when the last fault began");
}

/// Waits until everything has come to its end, and judges it.
fn go_right(site: &Site<'_>, mut seats: Vec<Seat<'_>>) {
    site.journal.note("no more faults");
    let settled = AtomicBool::new(false);
    let expected = thread::scope(|scope| {
        scope.spawn(|| {
            while !settled.load(Ordering::Relaxed) {
                seats.iter_mut().for_each(Seat::tend);
                thread::sleep(CARE);
            }
        });
        let expected = catch_unwind(AssertUnwindSafe(|| site.installation.settle()));
        settled.store(true, Ordering::Relaxed);
        expected.unwrap_or_else(|panic| resume_unwind(panic))
    });
    seats.iter_mut().for_each(Seat::leave);
    site.journal.note("settled");
    judge(&site.installation, &expected);
}

fn judge(installation: &Installation<'_>, expected: &Expected) {
    let endings = installation.endings();
    // Those that may go either way, too.
    assert_once(&endings, "event id", |ending| Some(ending.event_id));
    assert_once(&endings, "session and start", |ending| {
        Some((ending.session.clone(), ending.started_at?))
    });
    expected.compare(endings);
    for topic in ["session_logs.dlq", "expired_sessions.dlq"] {
        assert_eq!(installation.read(topic), [], "{topic}");
    }
}

fn assert_once<K: Ord>(endings: &[Ending], what: &str, key: impl Fn(&Ending) -> Option<K>) {
    let mut by_key = BTreeMap::<K, Vec<&Ending>>::new();
    for ending in endings {
        if let Some(key) = key(ending) {
            by_key.entry(key).or_default().push(ending);
        }
    }
    by_key.retain(|_, endings| endings.len() > 1);
    let twice: Vec<_> = by_key.into_values().collect();
    assert!(
        twice.is_empty(),
        "the same {what} more than once: {twice:#?}"
    );
}
