//! One run: inject faults, wait until all events are processed, compare the endings.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::broker_faults;
use crate::deployment::Deployment;
use crate::journal::Journal;
use crate::lost_state;
use crate::member::Member;
use crate::network_faults;
use crate::networks::Networks;
use crate::producers::{Producers, add_partitions};
use crate::schedule::{Lane, Role, TRACKERS};
use crate::settings::Settings;
use crate::support::installation::Installation;
use crate::support::kafka::OwnKafka;
use crate::support::model::{Ending, Expected, Limits};
use crate::support::population::Population;
use crate::website::Website;

/// Timeouts longer than any broker outage delays user events, so that the log determines the endings.
pub const LIMITS: Limits = Limits {
    idle: 8_000,
    absolute: Some(20_000),
    lateness: 5_000,
};
/// At least one for each tracker.
pub const PARTITIONS: i32 = 6;
/// Upper bound of concurrent sessions.
pub const USERS: usize = 120;
/// How often users' events are written.
const BEAT: Duration = Duration::from_millis(50);
/// Concurrent lanes of network faults.
const NETWORK_LANES: u64 = 2;
/// Duration of total silence, once in a long run.
const LULL: Duration = Duration::from_mins(3);
/// Faults from which on a run has [`LULL`], and a website with ingest.
const LONG_RUN: usize = 800;
/// How often exited processes are restarted after the last fault.
const RESTART_INTERVAL: Duration = Duration::from_millis(200);

/// Runs half of the faults with one group protocol.
///
/// # Panics
/// If an ending is missing, early or doubled, after printing the history of the run.
pub fn run(kafka: &OwnKafka, networks: &Networks, settings: &Settings, protocol: &'static str) {
    let name = format!("chaos-{}-{}-{protocol}", settings.seed, std::process::id());
    let installation = Installation::with_partitions(kafka, LIMITS, PARTITIONS);
    let deployment = Deployment {
        kafka,
        networks,
        website: (settings.faults >= LONG_RUN).then(|| Website::new(&installation)),
        installation,
        settings,
        protocol,
        journal: Journal::new(&name, settings.faults / 2),
    };
    eprintln!("{protocol}: {}", deployment.journal.folder().display());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut members = inject_faults(&deployment);
        verify(&deployment, &mut members);
        lost_state::lose_and_reset(&deployment, &mut members);
    }));
    let summary = deployment.journal.summary();
    match outcome {
        Ok(()) => {
            eprintln!("{protocol}: {summary}");
            deployment.journal.close();
        }
        Err(panic) => {
            eprintln!("{}\n{summary}", deployment.journal.history());
            eprintln!("logs: {}", deployment.journal.folder().display());
            eprintln!("rerun this schedule with: {}", settings.command());
            resume_unwind(panic);
        }
    }
}

/// Injects all faults while users are active.
fn inject_faults<'a>(deployment: &'a Deployment<'a>) -> Vec<Member<'a>> {
    let lane = |number| Lane::new(deployment.settings.seed, number);
    thread::scope(|scope| {
        scope.spawn(|| deployment.guarded(|| act(deployment, lane(0))));
        scope.spawn(|| deployment.guarded(|| broker_faults::fail(deployment, lane(1))));
        scope.spawn(|| deployment.guarded(|| add_partitions(deployment)));
        for network_lane in 0..NETWORK_LANES {
            scope.spawn(move || {
                deployment.guarded(|| network_faults::fail(deployment, lane(2 + network_lane)));
            });
        }
        let trackers = (0..TRACKERS).map(|number| (Role::Tracker, number));
        let ingests = (0..deployment.ingests()).map(|number| (Role::Ingest, number));
        let lanes: Vec<_> = (2 + NETWORK_LANES..)
            .zip(trackers.chain(ingests))
            .map(|(number, (role, member))| {
                let lane = lane(number);
                scope.spawn(move || {
                    deployment.guarded(|| Member::new(deployment, role, member).fail(lane))
                })
            })
            .collect();
        let members = lanes.into_iter().map(|lane| lane.join());
        members
            .map(|member| member.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// Keeps users active, with pauses, until the schedule is over.
fn act(deployment: &Deployment<'_>, mut lane: Lane) {
    let mut users = Population::new(deployment.settings.seed, USERS, PARTITIONS, LIMITS);
    let producers = Producers::new(deployment);
    let mut lull = (deployment.settings.faults >= LONG_RUN).then_some(LULL);
    while !deployment.journal.is_over() {
        let (mut left, silence) = lane.users();
        while !deployment.journal.is_over() && !left.is_zero() {
            producers.write(users.events());
            let beat = BEAT.min(left);
            thread::sleep(beat);
            left = left.saturating_sub(beat);
        }
        if let Some(silence) = silence.map(|scheduled| lull.take().unwrap_or(scheduled)) {
            deployment
                .journal
                .note(&format!("users: silent for {silence:?}"));
            deployment.journal.pace(silence);
            deployment.journal.note("users: active again");
        }
    }
    let so_far = deployment.installation.endings().len();
    deployment
        .journal
        .note(&format!("users: gone; {so_far} endings so far"));
    eprintln!("{so_far} endings when the last fault began");
}

/// Waits until every session has ended and compares the endings with the model's.
fn verify(deployment: &Deployment<'_>, members: &mut [Member<'_>]) {
    deployment.journal.note("no more faults");
    let verified = AtomicBool::new(false);
    let expected = thread::scope(|scope| {
        scope.spawn(|| {
            while !verified.load(Ordering::Relaxed) {
                members.iter_mut().for_each(Member::ensure_running);
                thread::sleep(RESTART_INTERVAL);
            }
        });
        let expected = catch_unwind(AssertUnwindSafe(|| {
            let installation = &deployment.installation;
            let Some(website) = &deployment.website else {
                return installation.verify();
            };
            website.await_mapped(installation);
            website.compare(installation);
            installation.verify_with(|| website.log(installation))
        }));
        verified.store(true, Ordering::Relaxed);
        expected
    });
    let expected = expected.unwrap_or_else(|panic| {
        members.iter().for_each(Member::save_state);
        resume_unwind(panic)
    });
    members.iter_mut().for_each(Member::stop);
    deployment.journal.note("verified");
    compare_endings(&deployment.installation, &expected);
}

fn compare_endings(installation: &Installation<'_>, expected: &Expected) {
    let endings = installation.endings();
    // Doubtful endings included.
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
