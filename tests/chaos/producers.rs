//! Producers that distribute sessions in different ways, and partitions that are added under them.

use std::thread;
use std::time::Duration;

use sundown::wire::partitioner::murmur2_partition;

use crate::deployment::Deployment;
use crate::run::PARTITIONS;
use crate::support::installation::SOON;
use crate::support::process::Stream;
use crate::support::topic::NewRecord;
use crate::support::wait::Deadline;
use crate::support::writer::Writer;
use crate::website::{Producer, click};

/// How many partitions there are once some have been added.
pub const GROWN: i32 = 2 * PARTITIONS;
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The applications, and the website with a topic of its own.
pub struct Producers<'a> {
    deployment: &'a Deployment<'a>,
    writer: Writer,
}

impl<'a> Producers<'a> {
    pub fn new(deployment: &'a Deployment<'a>) -> Self {
        Self {
            deployment,
            writer: deployment.kafka.writer(),
        }
    }

    /// Writes events, each by the producer of its session.
    pub fn write(&self, events: Vec<NewRecord>) {
        let of_website = |event: &NewRecord| {
            let key = event.key.as_deref();
            event.partition.is_none()
                && key.is_some_and(|key| Producer::of(key) == Producer::Website)
        };
        let events = match &self.deployment.website {
            None => events,
            Some(website) => {
                let (clicks, events): (Vec<_>, Vec<_>) = events.into_iter().partition(of_website);
                self.writer.write(website.topic(), clicks.iter().map(click));
                events
            }
        };
        let session_logs = self.deployment.installation.session_logs();
        self.writer
            .write(&session_logs, events.into_iter().map(distribute));
    }
}

/// Chooses the partition of an event that has none, unless its producer uses the partitions that it knows of.
fn distribute(mut event: NewRecord) -> NewRecord {
    if let (None, Some(key)) = (event.partition, &event.key) {
        event.partition = partition(key);
    }
    event
}

fn partition(session: &[u8]) -> Option<i32> {
    match Producer::of(session) {
        Producer::OfJsonKeys => {
            let quoted = [b"\"", session, b"\""].concat();
            murmur2_partition(Some(&quoted), PARTITIONS)
        }
        Producer::Outdated => murmur2_partition(Some(session), PARTITIONS),
        Producer::Website | Producer::Right => None,
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
