//! Activity out of order.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sundown_session::TableConfig;
use sundown_session::{SessionTable, Span};

use crate::sessions::{Ids, RUSH, START, apply_all};

/// Activity in each of the sessions with times out of order by up to the allowed lateness: each is late
/// by one of `delays`, and many are before the last one of their session.
pub fn touch_all_shuffled<'a>(
    table: &mut SessionTable,
    ids: &Ids,
    pass: i64,
    mut delays: impl Iterator<Item = &'a Span>,
) {
    let latest = START + Span::from_millis(RUSH + pass * 1_000);
    let first_offset = pass * 10_000_000;
    apply_all(table, ids, first_offset, |_| {
        delays.next().map_or(latest, |delay| latest - *delay)
    });
}

/// Random delays below the allowed lateness.
pub fn delays(count: usize) -> Vec<Span> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let lateness = TableConfig::default().allowed_lateness.as_millis();
    let delay = |_| Span::from_millis(random.random_range(0..lateness));
    (0..count).map(delay).collect()
}
