//! Paused partitions.

use serde_json::Value;

use super::{Ending, Installation, SOON, stop};
use crate::receiver::{Receiver, Response};
use crate::support::process::{Launch, Stream};
use crate::support::topic::Isolation;
use crate::support::wait::eventually;

fn partitions(installation: &Installation<'_>, command: &str) {
    let mut process = Launch::sundown()
        .args(["partitions", command, "handler", "1"])
        .args(["-b", installation.kafka.bootstrap()])
        .args(["--topic-prefix", &installation.prefix])
        .start();
    let status = process.wait(SOON);
    assert!(status.success(), "{}", process.text(Stream::Stderr));
}

/// What the process reports of partition 1, in its last report.
fn reported(installation: &Installation<'_>) -> Option<Value> {
    let topic = format!("{}sundown.processes", installation.prefix);
    let reports = installation.kafka.read(&topic, Isolation::ReadCommitted);
    let last = reports.last()?.json();
    let assignments = last["assignments"].as_array()?.clone();
    assignments.into_iter().find(|one| one["partition"] == 1)
}

#[test]
fn nothing_is_done_about_endings_on_a_paused_partition_until_it_is_resumed() {
    let installation = Installation::new(2);
    let receiver = Receiver::start(|_| Response::Status(200));
    partitions(&installation, "pause");
    let handler = installation.start_calling(&receiver, "");
    let endings: Vec<_> = (0..6).map(|user| Ending::of(&user.to_string())).collect();
    let records = endings.iter().zip([0, 1].iter().cycle());
    let records = records.map(|(ending, partition)| crate::support::topic::NewRecord {
        partition: Some(*partition),
        ..ending.record()
    });
    installation
        .kafka
        .produce(&installation.topic(), records.collect::<Vec<_>>());
    eventually(SOON, "the endings of the other partition", || {
        (receiver.count() == 3).then_some(())
    });
    let report = eventually(SOON, "word of the pause", || {
        reported(&installation).filter(|one| one["paused"] == true && one["end"] == 3)
    });
    assert_eq!(receiver.count(), 3);
    assert_ne!(report["position"], 3);

    partitions(&installation, "resume");
    eventually(SOON, "the rest", || (receiver.count() == 6).then_some(()));
    eventually(SOON, "word of that", || {
        reported(&installation).filter(|one| one["paused"].is_null() && one["position"] == 3)
    });
    stop(handler);
}
