//! Memory per live session and per remembered ending: `cargo bench -p sundown-session --bench memory`.
//!
//! A counting allocator measures what the table has allocated, index and lists included. Fails if one
//! exceeds its bound.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a benchmark prints its figures, and panics if it cannot continue"
)]

#[path = "measure/sessions.rs"]
mod sessions;

use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use sundown_session::{Event, EventKind, SessionTable};

use sessions::{Ids, START, activity, commit, empty_table, start_all, touch_all};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The bound on the bytes of a live session.
const BYTES_PER_SESSION: usize = 128;
/// The bound on the bytes of a remembered ending.
const BYTES_PER_ENDING: usize = 48;

/// The index doubles when it is seven eighths full: the counts just before and just
/// behind that are the best and the worst ones.
const COUNTS: [usize; 4] = [
    (1 << 20) / 8 * 7,
    (1 << 20) / 8 * 7 + 1,
    1_000_000,
    (1 << 21) / 8 * 7 + 1,
];

fn main() -> ExitCode {
    let (sessions, endings) = (measure_sessions(), measure_endings());
    if sessions <= BYTES_PER_SESSION && endings <= BYTES_PER_ENDING {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns the bytes of a live session, where they are most.
fn measure_sessions() -> usize {
    println!("bytes per live session, UUID ids, counted by the allocator");
    println!(
        " sessions | after a commit | all dirty | before the first commit | peak while starting"
    );
    let mut most = 0;
    for count in COUNTS {
        let ids = Ids::new(count);
        let empty = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let a_session = |bytes: usize| (bytes - empty).div_ceil(count);
        let mut table = empty_table();
        start_all(&mut table, &ids);
        let peak = a_session(ALLOCATOR.peak_usage());
        let uncommitted = a_session(ALLOCATOR.current_usage());
        drop(commit(&mut table, 0));
        let committed = a_session(ALLOCATOR.current_usage());
        touch_all(&mut table, &ids, 1);
        let dirty = a_session(ALLOCATOR.current_usage());
        println!("{count:9} | {committed:14} | {dirty:9} | {uncommitted:23} | {peak:19}");
        most = most.max(committed).max(dirty);
    }
    println!("the limit is {BYTES_PER_SESSION}");
    most
}

/// Returns the bytes of a remembered ending, where they are most.
fn measure_endings() -> usize {
    println!("bytes per remembered ending, UUID ids, counted by the allocator");
    println!("  endings | after a commit");
    let mut most = 0;
    for count in COUNTS {
        let ids = Ids::new(count);
        let empty = ALLOCATOR.current_usage();
        let mut table = empty_table();
        log_out_all(&mut table, &ids);
        drop(commit(&mut table, 0));
        assert_eq!(table.remembered(), count);
        let committed = (ALLOCATOR.current_usage() - empty).div_ceil(count);
        println!("{count:9} | {committed:14}");
        most = most.max(committed);
    }
    println!("the limit is {BYTES_PER_ENDING}");
    most
}

/// Logs out each id, none of which is live.
pub fn log_out_all(table: &mut SessionTable, ids: &Ids) {
    let mut effects = Vec::new();
    for (offset, id) in (0..).zip(ids.iter()) {
        let event = Event {
            kind: EventKind::Logout,
            ..activity(id, START)
        };
        table.apply(event, offset, START, &mut effects);
        effects.clear();
    }
}
