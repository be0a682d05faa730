//! Partitions of which nothing more comes: told from those of which there is nothing, and read
//! anew.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use sundown::kafka::group::{
    GroupConsumer, GroupContext, GroupProtocol, Membership, Rebalance, StallDetector, assign,
    member_config, refetch,
};

use crate::eventually::eventually;
use crate::kafka::{Kafka, unique_prefix};
use crate::topic::NewRecord;

const SOON: Duration = Duration::from_secs(60);
/// Longer than a partition may stand still.
const LONG: Duration = Duration::from_secs(60);

fn on(partition: i32) -> NewRecord {
    NewRecord {
        partition: Some(partition),
        ..NewRecord::new("key", "value")
    }
}

#[test]
fn only_what_is_committed_and_not_read_counts_as_more() {
    let kafka = Kafka::shared();
    let topic = unique_prefix("stall") + "topic";
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(&topic, (0..3).map(on));
    let application = kafka.transactional_writer(&topic);
    application.begin();
    application.write(&topic, [on(0), on(1)]);
    let config = kafka
        .client()
        .set("isolation.level", "read_committed")
        .to_owned();
    let mut stall = StallDetector::new(config, topic);
    // The first has been read to the open transaction, the last to its end, by what brokers said.
    let positions = [(0, 1), (1, 0), (2, 1)];
    stall.look(positions, Duration::ZERO).unwrap();
    let anew = eventually(SOON, "an answer of the brokers", || {
        let anew = stall.look(positions, LONG).unwrap();
        (!anew.is_empty()).then_some(anew)
    });
    assert_eq!(anew, [(1, 0)]);
    application.abort();
}

#[test]
fn a_partition_that_is_read_anew_goes_on_from_its_position() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let kafka = Kafka::shared();
        let topic = unique_prefix("anew") + "topic";
        kafka.create_topic(&topic, 2, &[]);
        kafka.produce(&topic, [on(0), on(0), on(0), on(1)]);
        let member = Membership {
            group: &topic,
            protocol,
            session_timeout: Duration::from_secs(10),
            prefetch_kib: 1024,
            offset_reset: "earliest",
        };
        let consumer = Leaving(
            member_config(&kafka.client(), &member)
                .create_with_context(GroupContext::default())
                .unwrap(),
        );
        let consumer = &consumer.0;
        consumer.subscribe(&[&topic]).unwrap();
        read(consumer, &[(0, 0), (0, 1), (0, 2), (1, 0)]);
        refetch(consumer, &topic, &[(0, 1)]).unwrap();
        kafka.produce(&topic, [on(0), on(1)]);
        read(consumer, &[(0, 1), (0, 2), (0, 3), (1, 1)]);
    }
}

/// Leaves its group when it goes, for whatever reason: librdkafka would wait for ever for an
/// answer to the rebalance that this is.
struct Leaving(GroupConsumer);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.context().close();
    }
}

/// Waits for records, and for no others before them; given in order, partition by partition.
fn read(consumer: &GroupConsumer, wanted: &[(i32, i64)]) {
    let mut read = Vec::new();
    eventually(SOON, &format!("records {wanted:?}"), || {
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            let record = record.unwrap();
            read.push((record.partition(), record.offset()));
        }
        while let Some(rebalance) = consumer.context().next_rebalance() {
            let Rebalance::Assigned(partitions) = rebalance else {
                panic!("{rebalance:?}");
            };
            assign(consumer, &partitions).unwrap();
        }
        (read.len() >= wanted.len()).then_some(())
    });
    read.sort_by_key(|(partition, _)| *partition);
    assert_eq!(read, wanted);
}
