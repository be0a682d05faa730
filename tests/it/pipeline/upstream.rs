//! Applications that write session events in transactions.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::population::Population;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;
use crate::support::writer::Writer;

const LIMITS: Limits = Limits {
    idle: 2_000,
    absolute: None,
    lateness: 1_000,
};

/// A partition whose records cannot be read yet holds up no other.
const KEYED: [&str; 2] = ["--routing", "keyed"];

/// A session on partition 0, and one on another partition that advances the time.
struct Sessions<'a> {
    installation: &'a Installation<'a>,
    held: String,
    free: String,
}

impl<'a> Sessions<'a> {
    fn started(installation: &'a Installation<'a>) -> Self {
        let sessions = Self {
            installation,
            held: installation.key_on(0),
            free: installation.key_on(1),
        };
        let events = [&sessions.held, &sessions.free].map(|session| activity(session));
        let logs = installation.session_logs();
        installation.kafka.produce(&logs, events);
        sessions
    }

    fn ended(&self, session: &str) -> bool {
        let endings = self.installation.endings();
        endings.iter().any(|ending| ending.session == session)
    }

    fn await_end(&self, session: &str) {
        eventually(SOON, "the session's end", || {
            self.ended(session).then_some(())
        });
    }

    /// Activity of the held session, in a transaction that stays open.
    fn open_transaction(&self) -> Writer {
        let id = self.installation.topic("application");
        let writer = self.installation.kafka.transactional_writer(&id);
        writer.begin();
        writer.write(&self.installation.session_logs(), [activity(&self.held)]);
        writer
    }

    /// Waits until both would have ended, were it not for the open transaction.
    fn assert_held_back(&self) {
        self.await_end(&self.free);
        let later = self.installation.key_on(1);
        let logs = self.installation.session_logs();
        self.installation.kafka.produce(&logs, [activity(&later)]);
        self.await_end(&later);
        assert!(!self.ended(&self.held), "unread activity may keep it");
    }
}

fn activity(session: &str) -> NewRecord {
    let now = Clock::default().wall().as_millis();
    let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": now});
    NewRecord::new(session, event.to_string())
}

#[test]
fn activity_in_an_open_transaction_holds_endings_back_until_it_counts() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&KEYED);
    tracker.await_ready();
    let sessions = Sessions::started(&installation);
    let transaction = sessions.open_transaction();
    sessions.assert_held_back();
    transaction.commit();
    installation.verify();
    tracker.stop();
}

#[test]
fn an_aborted_transaction_at_the_end_of_a_silent_topic_holds_nothing_back() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&KEYED);
    tracker.await_ready();
    let sessions = Sessions::started(&installation);
    let transaction = sessions.open_transaction();
    sessions.assert_held_back();
    transaction.abort();
    installation.verify();

    // The same for a tracker that finds it there.
    let sessions = Sessions::started(&installation);
    installation.await_checkpoint(&sessions.held);
    tracker.stop();
    sessions.open_transaction().abort();
    let tracker = installation.tracker(&[]);
    installation.verify();
    tracker.stop();
}

#[test]
fn an_abandoned_transaction_holds_endings_back_until_the_broker_aborts_it() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let tracker = installation.tracker(&KEYED);
    tracker.await_ready();
    let sessions = Sessions::started(&installation);
    drop(sessions.open_transaction());
    sessions.assert_held_back();
    installation.verify();
    tracker.stop();
}

#[test]
fn what_is_aborted_never_happened() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let trackers = [installation.tracker(&[]), installation.tracker(&[])];
    let mut users = Population::new(7, 40, PARTITIONS, LIMITS);
    let writer = installation
        .kafka
        .transactional_writer(&installation.topic("application"));
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..40 {
        writer.begin();
        for _ in 0..rng.random_range(1..4) {
            let logs = installation.session_logs();
            users.act(Duration::from_millis(60), &writer, &logs);
        }
        if rng.random_ratio(2, 3) {
            writer.commit();
        } else {
            writer.abort();
        }
    }
    let expected = installation.verify();
    trackers
        .into_iter()
        .for_each(crate::support::role::RoleProcess::stop);
    expected.compare(installation.endings());
}
