//! Trackers of an earlier release beside those of this one, in one group.

use std::time::Duration;

use crate::support::installation::{Installation, PARTITIONS};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::population::Population;

/// Names a binary of an earlier release or commit.
const EARLIER: &str = "SUNDOWN_TEST_EARLIER";

const LIMITS: Limits = Limits {
    idle: 4_000,
    absolute: None,
    lateness: 1_000,
};

/// A rollout, its rollback and the rollout again, while users are active: each release restores what the
/// other has committed and checkpointed.
#[test]
fn a_rollout_and_its_rollback_end_every_session_once() {
    let Ok(binary) = std::env::var(EARLIER) else {
        eprintln!("skipped: {EARLIER} names no binary of an earlier release");
        return;
    };
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let earlier = installation.with_binary(&binary);
    let mut users = Population::new(7, 60, PARTITIONS, LIMITS);
    let writer = installation.kafka.writer();
    let topic = installation.session_logs();
    let mut act = || users.act(Duration::from_secs(4), &writer, &topic);

    let old = [earlier.tracker(&[]), earlier.tracker(&[])];
    old.iter().for_each(|tracker| tracker.await_ready());
    act();
    let [first, second] = old;
    let new = installation.tracker(&[]);
    new.await_ready();
    act();
    first.stop();
    act();
    // Back to the earlier release, by a crash of the only tracker of this one.
    new.kill();
    act();
    let [one, other] = [installation.tracker(&[]), installation.tracker(&[])];
    one.await_ready();
    second.stop();
    act();
    let expected = installation.verify();
    one.stop();
    other.stop();
    expected.compare(installation.endings());
}
