//! Tables full of sessions whose ids are UUIDs.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sundown_session::TableConfig;
use sundown_session::{
    Effect, Event, EventKind, LoggedEvent, Policy, PolicySet, SessionTable, Span, Subject,
    Timestamp, UserRef,
};
use uuid::Uuid;

/// When the first session starts.
pub const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
/// Every session starts within this time, in milliseconds.
pub const RUSH: i64 = 3_600_000;
/// How many events the tracker applies at once.
const BURST: usize = 64;

/// Session ids one behind the other, as a consumer's buffer holds them.
#[derive(Clone)]
pub struct Ids(pub Vec<[u8; 36]>);

impl Ids {
    /// `count` random ids, the same in every run.
    pub fn new(count: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let id = |_| {
            let mut text = [0; 36];
            let uuid = Uuid::from_u128(random.random());
            uuid.hyphenated().encode_lower(&mut text);
            text
        };
        Self((0..count).map(id).collect())
    }

    /// The ids in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let text = |id| std::str::from_utf8(id).unwrap_or_default();
        self.0.iter().map(move |id| text(id))
    }
}

/// Two hours idle, twelve hours at most.
pub fn usual_policies() -> Arc<PolicySet> {
    policy_set(Vec::new())
}

/// `policies`, and two hours idle and twelve hours at most for the rest.
pub fn policy_set(policies: Vec<Policy>) -> Arc<PolicySet> {
    let hour = Span::from_secs(3_600);
    let fallback = Policy::built_in(hour + hour, Some(Span::from_secs(12 * 3_600)));
    let set = PolicySet::new(policies, fallback);
    Arc::new(set.expect("few policies"))
}

/// A table without sessions.
pub fn empty_table() -> SessionTable {
    let config = TableConfig {
        max_remembered: usize::MAX,
        ..TableConfig::default()
    };
    SessionTable::new(config, usual_policies(), START)
}

/// Starts a session for each id, within an hour.
pub fn start_all(table: &mut SessionTable, ids: &Ids) {
    let count = i64::try_from(ids.0.len()).unwrap_or(i64::MAX);
    apply_all(table, ids, 0, |index| {
        START + Span::from_millis(index * RUSH / count)
    });
    assert_eq!(table.len(), ids.0.len());
}

/// Activity in each of the sessions, in the order of `ids`, for the `pass`th time.
pub fn touch_all(table: &mut SessionTable, ids: &Ids, pass: i64) {
    let at = START + Span::from_millis(RUSH + pass);
    let first_offset = pass * 10_000_000;
    apply_all(table, ids, first_offset, |_| at);
}

/// Commits everything, a slack and more after the last time.
pub fn commit(table: &mut SessionTable, pass: i64) -> Vec<Effect> {
    let mut effects = Vec::new();
    let position = (pass + 1) * 10_000_000;
    for minute in [2 * pass, 2 * pass + 1] {
        let now = Timestamp::from_millis(minute * 60_000);
        table.flush(position, now, usize::MAX, &mut effects);
    }
    assert_eq!(table.replay_from(position), position, "nothing is dirty");
    effects
}

/// Applies activity of each id at the time that `at` says of its place, in bursts.
pub fn apply_all(
    table: &mut SessionTable,
    ids: &Ids,
    first_offset: i64,
    mut at: impl FnMut(i64) -> Timestamp,
) {
    let mut effects = Vec::new();
    let mut burst = Vec::with_capacity(BURST);
    let mut events = (0..).zip(ids.iter()).map(|(index, id)| {
        let at = at(index);
        LoggedEvent {
            event: activity(id, at),
            offset: first_offset + index,
            record_timestamp: at,
        }
    });
    loop {
        burst.clear();
        burst.extend(events.by_ref().take(BURST));
        if burst.is_empty() {
            break;
        }
        table.apply_all(&burst, &mut effects, |_, _| {});
    }
    assert!(effects.is_empty(), "nothing ends");
}

/// Activity of a session at a time.
pub fn activity(id: &str, at: Timestamp) -> Event<'_> {
    let user = UserRef {
        text: "123456",
        number: true,
    };
    Event {
        subject: Subject::Session {
            id,
            user: Some(user),
        },
        at,
        kind: EventKind::Activity,
        attributes: None,
        initiator: None,
    }
}
