//! The `consumer` group protocol, and at-least-once delivery.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::model;
use crate::support::population::Population;
use crate::support::role::RoleProcess;
use crate::support::wait::within;

#[test]
fn in_a_group_that_the_brokers_balance_a_killed_tracker_costs_no_session() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let flags = ["--group-protocol", "consumer"];
    let [victim, other] = [installation.tracker(&flags), installation.tracker(&flags)];
    victim.await_ready();
    other.await_ready();
    thread::scope(|scope| {
        let users = scope.spawn(|| {
            let mut users = Population::new(8, 60, PARTITIONS, SHORT);
            let writer = installation.kafka.writer();
            users.act(
                Duration::from_secs(10),
                &writer,
                &installation.session_logs(),
            );
        });
        thread::sleep(Duration::from_secs(4));
        victim.kill();
        users.join().expect("the users do as they should");
    });
    let expected = installation.verify();
    other.stop();
    expected.compare(installation.endings());
}

#[test]
fn delivered_at_least_once_endings_may_repeat_but_none_is_missing_or_made_up() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let flags = ["--delivery", "at-least-once"];
    let mut trackers = vec![installation.tracker(&flags), installation.tracker(&flags)];
    trackers.iter().for_each(RoleProcess::await_ready);
    thread::scope(|scope| {
        let users = scope.spawn(|| {
            let mut users = Population::new(9, 60, PARTITIONS, SHORT);
            let writer = installation.kafka.writer();
            users.act(
                Duration::from_secs(16),
                &writer,
                &installation.session_logs(),
            );
        });
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(3_700));
            trackers.remove(0).kill();
            trackers.push(installation.tracker(&flags));
        }
        users.join().expect("the users do as they should");
    });

    let mut expected = model::expected(&installation.log(), SHORT);
    let ids = |endings: &[model::Ending]| -> BTreeSet<_> {
        endings.iter().map(|ending| ending.event_id).collect()
    };
    let want = ids(&expected.certain(expected.endings.clone()));
    let distinct = || {
        let mut endings = installation.endings();
        endings.sort();
        endings.dedup();
        endings
    };
    expected.endings.dedup();
    let have_ended = within(SOON, || ids(&distinct()).is_superset(&want).then_some(()));
    if have_ended.is_none() {
        expected.compare(distinct());
    }
    installation.await_nothing_left();
    trackers.into_iter().for_each(RoleProcess::stop);
    expected.compare(distinct());
}
