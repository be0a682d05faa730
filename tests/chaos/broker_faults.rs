//! Faults of brokers: one at a time, and only while all replicas are in sync.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::BROKERS;
use crate::deployment::Deployment;
use crate::schedule::{BrokerFault, Lane, Step};
use crate::support::installation::SOON;
use crate::support::kafka::Kafka;
use crate::support::wait::eventually;

/// The asked broker may be down.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Injects broker faults until the schedule is over.
pub fn fail(deployment: &Deployment<'_>, mut lane: Lane) {
    while !deployment.journal.is_over() {
        let step = lane.broker(BROKERS);
        deployment.journal.pace(step.after);
        // A resumed broker may not know yet what it has missed.
        wait_for_in_sync_replicas(deployment.kafka);
        inject(deployment, step);
        wait_for_in_sync_replicas(deployment.kafka);
    }
}

fn inject(deployment: &Deployment<'_>, step: Step<BrokerFault>) {
    let BrokerFault { broker, kill } = step.fault;
    let (kind, what) = if kill {
        ("brokers killed", "killed, away")
    } else {
        ("brokers frozen", "frozen")
    };
    let description = format!("broker {broker}: {what} for {:?}", step.lasts);
    if !deployment.journal.fault(kind, &description) {
        return;
    }
    if kill {
        deployment.kafka.kill(broker);
        deployment.journal.pace(step.lasts);
        deployment.kafka.start(broker);
    } else {
        deployment.kafka.stop(broker);
        deployment.journal.pace(step.lasts);
        deployment.kafka.cont(broker);
    }
    deployment.journal.note(&format!("broker {broker}: back"));
}

/// Waits until every partition has a leader and all replicas are in sync.
fn wait_for_in_sync_replicas(kafka: &Kafka) {
    let client: BaseConsumer = kafka.client().create().expect("a client");
    eventually(SOON, "all replicas in sync", || {
        let metadata = client.fetch_metadata(None, METADATA_TIMEOUT).ok()?;
        let topics = metadata.topics().iter();
        let mut partitions = topics.flat_map(|topic| topic.partitions());
        let up_to_date = partitions.all(|partition| {
            partition.leader() > 0 && partition.isr().len() == partition.replicas().len()
        });
        up_to_date.then_some(())
    });
}
