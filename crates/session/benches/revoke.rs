//! Revocation of all of many live sessions: `cargo bench -p sundown-session --bench revoke`.
//!
//! The table works in slices, between which its caller serves other events. Between any two slices, one
//! session logs out and another one is active. Prints the longest slice, the longest of those events,
//! and the rate; `SUNDOWN_BENCH_SESSIONS` sets the number of sessions (10,000,000). Fails if a slice or an
//! event takes longer than a second of CPU time.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "a benchmark prints its figures, and panics if it cannot continue"
)]

#[path = "measure/sessions.rs"]
mod sessions;
#[path = "measure/thread.rs"]
mod thread;

use std::process::ExitCode;
use std::time::Duration;

use sundown_session::{
    Attributes, Effect, Event, EventKind, SessionTable, Span, Subject, TableConfig,
};

use sessions::{Ids, RUSH, START, activity, commit, start_all, usual_policies};
use thread::cpu_time;

/// The bound on what one call appends, as in the tracker.
const BURST: usize = 20_000;
const LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let count = std::env::var("SUNDOWN_BENCH_SESSIONS");
    let count = count.map_or(10_000_000, |text| text.parse().expect("a number"));
    let ids = Ids::new(count);
    // Remembered endings are bounded as in a partition of the tracker.
    let mut table = SessionTable::new(TableConfig::default(), usual_policies(), START);
    start_all(&mut table, &ids);
    drop(commit(&mut table, 0));
    let figures = revoke_all(&mut table, &ids);
    println!("{count} sessions, revoked at once; CPU time of one core");
    println!("| measurement | figure |");
    println!("|---|---|");
    println!("| slices | {} |", figures.slices);
    println!(
        "| longest slice | {:.1} ms |",
        millis(figures.longest_slice)
    );
    println!(
        "| longest logout or activity in between | {:.3} ms |",
        millis(figures.longest_event)
    );
    let rate = figures.ended as f64 / figures.total.as_secs_f64() / 1e6;
    println!("| endings a second | {rate:.2} M |");
    println!("| total | {:.1} s |", figures.total.as_secs_f64());
    if figures.longest_slice.max(figures.longest_event) < LIMIT {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Figures {
    slices: usize,
    ended: usize,
    longest_slice: Duration,
    longest_event: Duration,
    /// Of all slices.
    total: Duration,
}

fn revoke_all(table: &mut SessionTable, ids: &Ids) -> Figures {
    let mut figures = Figures::default();
    let any = Attributes::default();
    let at = START + Span::from_millis(RUSH + 1);
    let revoke = Event {
        subject: Subject::Matching { attributes: &any },
        kind: EventKind::Revoke,
        ..activity("", at)
    };
    // From the end of the table, which the slices reach last.
    let mut others = (0..).zip(ids.0.iter().rev());
    let mut effects = Vec::new();
    let mut more = true;
    let mut offset = 20_000_000;
    while more {
        let before = cpu_time();
        if figures.slices == 0 {
            table.apply(revoke, offset, at, &mut effects);
        } else {
            more = table.advance(at, BURST, &mut effects);
        }
        let took = cpu_time() - before;
        figures.total += took;
        figures.longest_slice = figures.longest_slice.max(took);
        figures.slices += 1;
        figures.ended += ended(&effects);
        effects.clear();
        for kind in [EventKind::Logout, EventKind::Activity] {
            offset += 1;
            let Some((_, id)) = others.next().filter(|_| more) else {
                break;
            };
            let id = std::str::from_utf8(id).expect("a UUID");
            let event = Event {
                kind,
                ..activity(id, at)
            };
            let before = cpu_time();
            table.apply(event, offset, at, &mut effects);
            figures.longest_event = figures.longest_event.max(cpu_time() - before);
            let logouts = usize::from(kind == EventKind::Logout);
            assert!(ended(&effects) <= logouts, "activity ends nothing");
            figures.ended += ended(&effects);
            effects.clear();
        }
    }
    assert!(table.is_empty(), "all have been revoked");
    assert_eq!(figures.ended, ids.0.len(), "each session ended once");
    figures
}

fn ended(effects: &[Effect]) -> usize {
    let is_ending = |effect: &&Effect| matches!(effect, Effect::Ended(_));
    effects.iter().filter(is_ending).count()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
