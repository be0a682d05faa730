//! Producers that distribute sessions in different ways, and partitions that are added under them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread;
use std::time::Duration;

use sundown::wire::partitioner::murmur2_partition;

use crate::deployment::Deployment;
use crate::run::PARTITIONS;
use crate::support::installation::SOON;
use crate::support::process::Stream;
use crate::support::topic::NewRecord;
use crate::support::wait::Deadline;

/// How many partitions there are once some have been added.
pub const GROWN: i32 = 2 * PARTITIONS;
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Chooses the partition of each record that has none, except for those whose producer uses the partitions
/// that it knows of. All events of a session are written by one producer, so that their order is known.
pub fn distribute(mut records: Vec<NewRecord>) -> Vec<NewRecord> {
    for record in &mut records {
        if let (None, Some(key)) = (record.partition, &record.key) {
            record.partition = partition(key);
        }
    }
    records
}

fn partition(session: &[u8]) -> Option<i32> {
    let mut hasher = DefaultHasher::new();
    session.hash(&mut hasher);
    match hasher.finish() % 3 {
        // A serializer of JSON.
        0 => {
            let quoted = [b"\"", session, b"\""].concat();
            murmur2_partition(Some(&quoted), PARTITIONS)
        }
        // A producer that does not notice added partitions.
        1 => murmur2_partition(Some(session), PARTITIONS),
        _ => None,
    }
}

/// Adds partitions at two fifths of the schedule.
pub fn add_partitions(deployment: &Deployment<'_>) {
    let journal = &deployment.journal;
    while !journal.is_over() && !journal.is_past(2, 5) {
        journal.wait_for_change();
    }
    let description = format!("partitions: {PARTITIONS} become {GROWN}");
    if !journal.fault("topics grown", &description) {
        return;
    }
    let deadline = Deadline::after(SOON);
    let partitions = GROWN.to_string();
    loop {
        let grow = ["topics", "grow", "--partitions", &partitions];
        let mut command = deployment.installation.sundown(&grow).start();
        if command.wait(SOON).success() {
            break;
        }
        // Brokers that it needs may be down.
        let error = command.text(Stream::Stderr);
        assert!(deadline.left().is_some(), "{error}");
        thread::sleep(RETRY_INTERVAL);
    }
    journal.note("partitions: added");
}
