//! End offsets are proven whichever brokers a client is connected to.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use sundown::clock::Clock;
use sundown::health::Health;
use sundown::kafka::end_offsets::EndOffsetWatch;
use tokio_util::sync::CancellationToken;

use crate::support::kafka::Kafka;
use crate::support::topic::{BROKER_TIMEOUT, NewRecord};
use crate::support::wait::eventually;

const TIMEOUT: Duration = Duration::from_secs(60);
const TOPIC: &str = "t";
/// More than a client proves before it has connected to the leader.
const ENOUGH: usize = 20;

/// Waits until the end of the only partition has been proven time and again.
fn await_proofs(watch: &EndOffsetWatch, end: i64, what: &str) {
    let mut proven = 0;
    eventually(TIMEOUT, what, || {
        if let Some(listed) = watch.poll() {
            proven += usize::from(listed.ends == [(0, end)]);
        }
        (proven >= ENOUGH).then_some(())
    });
}

fn leader(kafka: &Kafka) -> u8 {
    let client: BaseConsumer = kafka.client().create().expect("a client");
    let metadata = client.fetch_metadata(Some(TOPIC), BROKER_TIMEOUT);
    let metadata = metadata.expect("metadata");
    let leader = metadata.topics()[0].partitions()[0].leader();
    leader.try_into().expect("a leader")
}

#[test]
fn ends_are_proven_by_whichever_broker_a_client_starts() {
    let kafka = Kafka::own(3);
    kafka.create_topic(TOPIC, 1, &[]);
    kafka.produce(TOPIC, [NewRecord::new("a", "1")]);
    let stop = CancellationToken::new();
    let brokers = kafka.bootstrap().split(',').map(|broker| {
        let mut config = Kafka::at(broker.to_owned()).client();
        // Never joined.
        config.set("group.id", "reader");
        let (clock, health) = (Clock::default(), Health::default());
        let stop = stop.clone();
        let watch =
            EndOffsetWatch::start_without_upstream(config, TOPIC.to_owned(), clock, &health, stop)
                .expect("a watch");
        watch.watch(vec![0]);
        (broker, watch)
    });
    let watches: Vec<_> = brokers.collect();
    for (broker, watch) in &watches {
        await_proofs(watch, 1, &format!("proofs of a client of {broker}"));
    }
    // Another broker leads then: perhaps the one that has confirmed the leader so far.
    let killed = leader(&kafka);
    kafka.kill(killed);
    for (broker, watch) in &watches {
        let what = format!("proofs of a client of {broker} without node {killed}");
        await_proofs(watch, 1, &what);
    }
    stop.cancel();
}
