//! How fast the session core is, on one core: `cargo bench -p sundown-session --bench core`.
//!
//! Each benchmark uses a million sessions with UUIDs as ids and reports events or sessions per
//! second of CPU time. Building the input and dropping the output are not timed.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(
    clippy::expect_used,
    unreachable_pub,
    reason = "a benchmark that cannot continue panics"
)]

#[path = "measure/letters.rs"]
mod letters;
#[path = "measure/sessions.rs"]
mod sessions;
#[path = "measure/shuffled.rs"]
mod shuffled;
#[path = "measure/thread.rs"]
mod thread;

use std::time::Duration;

use criterion::{Bencher, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sundown_session::{
    Attributes, Effect, Glob, Matcher, Policy, Record, RecordKey, SessionTable, Span, Timestamp,
};

use sessions::{Ids, commit, empty_table, policy_set, start_all, touch_all, usual_policies};
use shuffled::{delays, touch_all_shuffled};
use thread::cpu_time;

const SESSIONS: usize = 1_000_000;
/// The bound on sessions ended by one call.
const BURST: usize = 20_000;

criterion_group! {
    name = core;
    config = Criterion::default().sample_size(10);
    targets = benchmark_a_million_sessions, benchmark_hostile_ids
}
criterion_main!(core);

fn benchmark_a_million_sessions(criterion: &mut Criterion) {
    let ids = Ids::new(SESSIONS);
    let mut group = criterion.benchmark_group("a million sessions");
    // An iteration is a million sessions, and some prepare as many first: one per sample.
    group.sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1));
    group.throughput(Throughput::Elements(SESSIONS as u64));
    group.bench_function("apply: start", |bencher| start(bencher, &ids));
    group.bench_function("apply: activity", |bencher| activity(bencher, &ids, true));
    group.bench_function("apply: more activity", |bencher| {
        activity(bencher, &ids, false);
    });
    group.bench_function("apply: shuffled activity", |bencher| {
        shuffled_activity(bencher, &ids, true);
    });
    group.bench_function("apply: more shuffled activity", |bencher| {
        shuffled_activity(bencher, &ids, false);
    });
    group.bench_function("advance: all fall due", |bencher| fall_due(bencher, &ids));
    group.bench_function("set_policies", |bencher| set_policies(bencher, &ids));
    group.bench_function("restore", |bencher| restore(bencher, &ids));
    group.finish();
}

/// Chosen ids must not slow a tracker down: the second benchmark should be as fast as the first.
fn benchmark_hostile_ids(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ids of 36 letters");
    group.sampling_mode(SamplingMode::Flat);
    for (name, ids) in [
        ("random", letters::random()),
        ("colliding", letters::colliding()),
    ] {
        group.throughput(Throughput::Elements(ids.0.len() as u64));
        group.bench_function(name, |bencher| start(bencher, &ids));
    }
    group.finish();
}

fn start(bencher: &mut Bencher<'_>, ids: &Ids) {
    timed(bencher, empty_table, |table| start_all(table, ids));
}

/// Activity in each session once, in random order. The first activity after the session
/// has been stored also puts it into the dirty list; `stored` includes that.
fn activity(bencher: &mut Bencher<'_>, ids: &Ids, stored: bool) {
    active(bencher, ids, stored, touch_all);
}

/// The same with event times out of order by up to the allowed lateness.
fn shuffled_activity(bencher: &mut Bencher<'_>, ids: &Ids, stored: bool) {
    let delays = delays(ids.0.len());
    active(bencher, ids, stored, |table, ids, pass| {
        // Other delays in each pass.
        let (now, later) = delays.split_at(usize::try_from(pass).unwrap_or(0) * 7_919 % SESSIONS);
        touch_all_shuffled(table, ids, pass, later.iter().chain(now));
    });
}

fn active(
    bencher: &mut Bencher<'_>,
    ids: &Ids,
    stored: bool,
    touch: impl Fn(&mut SessionTable, &Ids, i64),
) {
    let mut shuffled = ids.clone();
    shuffled.0.shuffle(&mut ChaCha8Rng::seed_from_u64(2));
    let mut table = full_table(ids);
    drop(commit(&mut table, 0));
    let mut pass = 0;
    bencher.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            pass += 1;
            let before = cpu_time();
            touch(&mut table, &shuffled, pass);
            total += cpu_time() - before;
            if stored {
                drop(commit(&mut table, pass));
            }
        }
        total
    });
}

/// Deadlines spread over an hour have passed, as after a long downtime. Sessions end in bursts,
/// because transactions are bounded.
fn fall_due(bencher: &mut Bencher<'_>, ids: &Ids) {
    let end_all = |table: &mut SessionTable| {
        let mut effects = Vec::new();
        while table.advance(Timestamp::MAX, BURST, &mut effects) {
            effects.clear();
        }
        assert!(table.is_empty());
    };
    timed(bencher, || full_table(ids), end_all);
}

fn set_policies(bencher: &mut Bencher<'_>, ids: &Ids) {
    let policy = |name: &str, priority, matcher| Policy {
        name: name.to_owned(),
        generation: 1,
        priority,
        matcher,
        ..Policy::built_in(Span::from_secs(priority.into()), None)
    };
    let acme = Attributes::new([("tenant", "acme")]).expect("few attributes");
    let services = vec![Glob::new("svc-*"), Glob::new("root")];
    let several = policy_set(vec![
        policy("everyone", 5_000, Matcher::default()),
        policy(
            "acme",
            7_000,
            Matcher {
                attributes: acme,
                user_ids: Vec::new(),
            },
        ),
        policy(
            "services",
            6_000,
            Matcher {
                attributes: Attributes::default(),
                user_ids: services,
            },
        ),
    ]);
    let mut table = full_table(ids);
    let mut sets = [several, usual_policies()].into_iter().cycle();
    let next_set = || sets.next().unwrap_or_else(usual_policies);
    timed(bencher, next_set, |set| table.set_policies(set.clone()));
}

/// Checkpoint records are decoded and their sessions restored.
fn restore(bencher: &mut Bencher<'_>, ids: &Ids) {
    let effects = commit(&mut full_table(ids), 0);
    let records: Vec<(RecordKey, Vec<u8>)> = effects.iter().filter_map(checkpoint_record).collect();
    timed(bencher, empty_table, |table| {
        for (key, value) in &records {
            let record = Record::decode(key.clone(), value);
            table.restore(record.expect("it has just been encoded"));
        }
        assert_eq!(table.len(), SESSIONS);
    });
}

fn full_table(ids: &Ids) -> SessionTable {
    let mut table = empty_table();
    start_all(&mut table, ids);
    table
}

fn checkpoint_record(effect: &Effect) -> Option<(RecordKey, Vec<u8>)> {
    let Effect::Store(record) = effect else {
        return None;
    };
    let mut value = Vec::new();
    record.encode(&mut value);
    Some((record.key(), value))
}

/// Measures only `work`, each time on a new result of `prepare`.
fn timed<T>(
    bencher: &mut Bencher<'_>,
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(&mut T),
) {
    bencher.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            let mut subject = prepare();
            let before = cpu_time();
            work(&mut subject);
            total += cpu_time() - before;
        }
        total
    });
}
