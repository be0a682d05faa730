//! Faults of brokers: one at a time, and only while the others have everything.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::BROKERS;
use crate::eventually::eventually;
use crate::installation::SOON;
use crate::kafka::Kafka;
use crate::schedule::{BrokerFault, Lane, Step};
use crate::site::Site;

/// For one answer; a broker that is asked may be away.
const ANSWER: Duration = Duration::from_secs(5);

/// Has brokers fail, one after the other, until there are to be no more faults.
pub fn fail(site: &Site<'_>, mut lane: Lane) {
    while !site.journal.is_over() {
        let step = lane.broker(BROKERS);
        site.journal.pace(step.after);
        // Once more: one that has just gone on may not yet know what it has missed.
        await_replicas(site.kafka);
        inject(site, step);
        await_replicas(site.kafka);
    }
}

fn inject(site: &Site<'_>, step: Step<BrokerFault>) {
    let BrokerFault { broker, kill } = step.fault;
    let (kind, what) = if kill {
        ("brokers killed", "killed, away")
    } else {
        ("brokers frozen", "frozen")
    };
    let told = format!("broker {broker}: {what} for {:?}", step.lasts);
    if !site.journal.fault(kind, &told) {
        return;
    }
    if kill {
        site.kafka.kill(broker);
        site.journal.pace(step.lasts);
        site.kafka.start(broker);
    } else {
        site.kafka.stop(broker);
        site.journal.pace(step.lasts);
        site.kafka.cont(broker);
    }
    site.journal.note(&format!("broker {broker}: back"));
}

/// Waits until every partition has a leader, and all of its replicas are up to date.
fn await_replicas(kafka: &Kafka) {
    let client: BaseConsumer = kafka.client().create().expect("a client");
    eventually(SOON, "replicas that are all up to date", || {
        let metadata = client.fetch_metadata(None, ANSWER).ok()?;
        let topics = metadata.topics().iter();
        let mut partitions = topics.flat_map(|topic| topic.partitions());
        let up_to_date = partitions.all(|partition| {
            partition.leader() > 0 && partition.isr().len() == partition.replicas().len()
        });
        up_to_date.then_some(())
    });
}
