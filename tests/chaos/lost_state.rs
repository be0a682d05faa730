//! What the trackers keep in Kafka is lost, and they read all events again.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::deployment::Deployment;
use crate::member::Member;
use crate::producers::{GROWN, Producers};
use crate::run::{LIMITS, USERS};
use crate::support::installation::SOON;
use crate::support::model;
use crate::support::model::comparison::difference;
use crate::support::population::Population;
use crate::support::process::Stream;
use crate::support::wait::eventually;

/// How long users act before and after the loss.
const ACTIVITY: Duration = Duration::from_secs(6);

/// Deletes the trackers' group, or their checkpoint topic, while sessions live; resets the partitions that
/// trackers hold then, and compares what they write from then on with the model.
///
/// # Panics
/// If an ending is missing, early or doubled.
pub fn lose_and_reset(deployment: &Deployment<'_>, members: &mut [Member<'_>]) {
    let (installation, journal) = (&deployment.installation, &deployment.journal);
    let mut users = Population::new(deployment.settings.seed + 1, USERS, GROWN, LIMITS);
    let producers = Producers::new(deployment);
    let mut act = || {
        for _ in 0..ACTIVITY.as_secs() {
            producers.write(users.events());
            thread::sleep(Duration::from_secs(1));
        }
    };
    members.iter_mut().for_each(Member::ensure_running);
    act();
    members.iter_mut().for_each(Member::stop);
    let before = installation.endings();
    lose(deployment);
    members.iter_mut().for_each(Member::ensure_running);
    act();
    eventually(SOON, "held partitions", || {
        let describe = ["state", "describe", "-o", "json"];
        let mut describe = installation.sundown(&describe).start();
        describe.wait(SOON).success().then_some(())?;
        let reports: Value = serde_json::from_str(&describe.text(Stream::Stdout)).ok()?;
        let mut reports = reports.as_array()?.iter();
        reports
            .any(|report| report["hold"].is_string())
            .then_some(())
    });
    installation.run_within(
        SOON,
        &["state", "reset", "--to", "beginning", "--held", "--yes"],
    );
    journal.note("trackers: read all events again");

    act();
    let website = deployment.website.as_ref();
    website.inspect(|website| website.await_mapped(installation));
    installation.await_nothing_left();
    let log = website.map_or_else(|| installation.log(), |website| website.log(installation));
    let expected = model::expected(&log, LIMITS);
    let unknown = difference(&expected.certain(before.clone()), &expected.endings);
    assert_eq!(unknown, [], "endings before the loss");
    expected.compare(difference(&installation.endings(), &before));
    members.iter_mut().for_each(Member::stop);
}

fn lose(deployment: &Deployment<'_>) {
    let (installation, journal) = (&deployment.installation, &deployment.journal);
    if deployment.protocol == "classic" {
        deployment.kafka.delete_group(&installation.group());
        journal.note("trackers: group deleted");
    } else {
        let checkpoint = installation.topic("sundown.checkpoint");
        deployment.kafka.delete_topic(&checkpoint);
        let partitions = GROWN.to_string();
        installation.run(&["topics", "create", "--partitions", &partitions]);
        journal.note("trackers: checkpoint topic deleted and created again");
    }
}
