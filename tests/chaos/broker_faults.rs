//! Faults of brokers: one at a time, and only while all replicas are in sync.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::BROKERS;
use crate::deployment::Deployment;
use crate::schedule::{BrokerFault, Lane, Outage, Step};
use crate::support::installation::SOON;
use crate::support::kafka::Kafka;
use crate::support::network::LinkState;
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
    let BrokerFault {
        broker,
        outage,
        is_needed,
    } = step.fault;
    let kind = match (outage, is_needed) {
        (Outage::Killed, false) => "brokers killed",
        (Outage::Killed, true) => "needed brokers killed",
        (Outage::Frozen, false) => "brokers frozen",
        (Outage::Frozen, true) => "needed brokers frozen",
        (Outage::CutOff(_), false) => "brokers cut off",
        (Outage::CutOff(_), true) => "needed brokers cut off",
    };
    let need = if is_needed { " although needed" } else { "" };
    let description = format!("broker {broker}: {outage:?}{need} for {:?}", step.lasts);
    if !deployment.journal.fault(kind, &description) {
        return;
    }
    if is_needed {
        set_min_insync_replicas(deployment, BROKERS);
    }
    match outage {
        Outage::Killed => {
            deployment.kafka.kill(broker);
            deployment.journal.pace(step.lasts);
            deployment.kafka.start(broker);
        }
        Outage::Frozen => {
            deployment.kafka.stop(broker);
            deployment.journal.pace(step.lasts);
            deployment.kafka.cont(broker);
        }
        Outage::CutOff(state) => {
            deployment.networks.peers.set(broker, state);
            deployment.journal.pace(step.lasts);
            deployment.networks.peers.set(broker, LinkState::Clear);
        }
    }
    deployment.journal.note(&format!("broker {broker}: back"));
    if is_needed {
        wait_for_in_sync_replicas(deployment.kafka);
        set_min_insync_replicas(deployment, BROKERS - 1);
    }
}

/// Sets how many replicas terminal events have to be on.
fn set_min_insync_replicas(deployment: &Deployment<'_>, replicas: u8) {
    let topic = deployment.installation.topic("expired_sessions");
    let replicas = replicas.to_string();
    deployment
        .kafka
        .alter_topic(&topic, "min.insync.replicas", &replicas);
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
