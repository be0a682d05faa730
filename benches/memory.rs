//! Memory per live session: `cargo bench --bench memory`.
//!
//! A counting allocator measures what the table has allocated, index and lists included. Fails if a
//! session exceeds its bound.
#![allow(
    clippy::expect_used,
    unreachable_pub,
    reason = "a benchmark that cannot continue panics"
)]

#[path = "measure/sessions.rs"]
mod sessions;

use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use sundown::output::line;

use sessions::{Ids, commit, empty_table, start_all, touch_all};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The bound on the bytes of a live session.
const BYTES_PER_SESSION: usize = 128;

/// The index doubles when it is seven eighths full: the counts just before and just
/// behind that are the best and the worst ones.
const COUNTS: [usize; 4] = [
    (1 << 20) / 8 * 7,
    (1 << 20) / 8 * 7 + 1,
    1_000_000,
    (1 << 21) / 8 * 7 + 1,
];

fn main() -> ExitCode {
    line("bytes per live session, UUID ids, counted by the allocator");
    line(" sessions | after a commit | all dirty | before the first commit | peak while starting");
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
        line(format_args!(
            "{count:9} | {committed:14} | {dirty:9} | {uncommitted:23} | {peak:19}"
        ));
        most = most.max(committed).max(dirty);
    }
    line(format_args!("the limit is {BYTES_PER_SESSION}"));
    if most <= BYTES_PER_SESSION {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
