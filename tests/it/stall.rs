//! Stalled partitions: distinguished from those with nothing to read, and fetched again.

use std::time::Duration;

use rdkafka::message::Message;
use sundown::clock::Clock;
use sundown::health::Health;
use sundown::kafka::group::{
    GroupProtocol, Member, Membership, Rebalance, StallDetector, member_config,
};

use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const SOON: Duration = Duration::from_secs(60);
/// Longer than a partition may stay at one position.
const LONG: Duration = Duration::from_secs(60);

fn on(partition: i32) -> NewRecord {
    NewRecord {
        partition: Some(partition),
        ..NewRecord::new("key", "value")
    }
}

#[test]
fn a_partition_stalls_only_if_committed_records_are_unread() {
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
    let mut detector = StallDetector::new(config, topic, Health::default());
    // The first has been read to the open transaction, the last to its end, by the brokers'
    // answer.
    let positions = [(0, 1), (1, 0), (2, 1)];
    detector.detect(positions, Duration::ZERO).unwrap();
    let stalled = eventually(SOON, "an answer of the brokers", || {
        let stalled = detector.detect(positions, LONG).unwrap();
        (!stalled.is_empty()).then_some(stalled)
    });
    assert_eq!(stalled, [(1, 0)]);
    application.abort();
}

#[test]
fn a_refetched_partition_continues_from_its_position() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let kafka = Kafka::shared();
        let topic = unique_prefix("refetch") + "topic";
        kafka.create_topic(&topic, 2, &[]);
        kafka.produce(&topic, [on(0), on(0), on(0), on(1)]);
        let membership = Membership {
            group: &topic,
            protocol,
            session_timeout: Duration::from_secs(10),
            prefetch_kib: 1024,
            offset_reset: "earliest",
        };
        let config = member_config(&kafka.client(), &membership);
        let mut member = Member::new(config, &topic, Clock::default(), &Health::default()).unwrap();
        member.consumer().subscribe().unwrap();
        await_records(&mut member, &[(0, 0), (0, 1), (0, 2), (1, 0)]);
        member.consumer().refetch(&[(0, 1)]).unwrap();
        kafka.produce(&topic, [on(0), on(1)]);
        await_records(&mut member, &[(0, 1), (0, 2), (0, 3), (1, 1)]);
    }
}

/// Waits for exactly these records, given in order, partition by partition.
fn await_records(member: &mut Member, expected: &[(i32, i64)]) {
    let mut read = Vec::new();
    eventually(SOON, &format!("records {expected:?}"), || {
        if let Some(record) = member.consumer().poll(Duration::from_millis(100)) {
            let record = record.unwrap();
            read.push((record.partition(), record.offset()));
        }
        while let Some(rebalance) = member.next_rebalance() {
            let Rebalance::Assigned(partitions) = rebalance else {
                panic!("{rebalance:?}");
            };
            member.consumer().assign(&partitions).unwrap();
        }
        (read.len() >= expected.len()).then_some(())
    });
    read.sort_by_key(|(partition, _)| *partition);
    assert_eq!(read, expected);
}
