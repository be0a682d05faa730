//! Creates topics, and reads them without a group.

use std::time::{Duration, Instant};

use chrono::DateTime;
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Deserialize;

use super::PARTITIONS;
use super::history::{Ending, LAST};
use crate::support::installation::Installation;

/// The source topic with timestamps of the producer, because its events lie in the past.
pub fn create_with_producers_time(installation: &Installation<'_>, partitions: u64) {
    let admin: AdminClient<DefaultClientContext> = installation.kafka.client().create().unwrap();
    let name = installation.topic("session_logs");
    let topic = NewTopic::new(
        &name,
        i32::try_from(partitions).unwrap(),
        TopicReplication::Fixed(1),
    )
    .set("message.timestamp.type", "CreateTime");
    let created = block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

/// Waits until so many endings can be read, and reads them all, sorted.
pub fn await_endings(
    installation: &Installation<'_>,
    topic: &str,
    count: usize,
    timeout: Duration,
) -> Vec<Ending> {
    let mut endings = Vec::new();
    let begun = Instant::now();
    let consumer = from_the_beginning(installation, topic);
    while endings.len() < count {
        assert!(
            begun.elapsed() < timeout,
            "{} of {count} endings",
            endings.len()
        );
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            endings.extend(compared(record.payload().unwrap()));
        }
    }
    endings.sort();
    endings
}

#[derive(Deserialize)]
struct Value<'a> {
    session_id: &'a str,
    reason: &'a str,
    /// Absent if the logout is the only event of the session.
    started_at: Option<&'a str>,
    last_activity: Option<&'a str>,
    ended_at: &'a str,
}

fn compared(value: &[u8]) -> Option<Ending> {
    let value: Value<'_> = serde_json::from_slice(value).unwrap();
    let time = |text| {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis()
    };
    (!value.session_id.starts_with(LAST)).then(|| {
        (
            value.session_id.to_owned(),
            value.reason.to_owned(),
            value.started_at.map_or(0, time),
            value.last_activity.map_or(0, time),
            time(value.ended_at),
        )
    })
}

/// How many records of a topic readers of committed records see, and the bytes of their
/// keys and values.
pub fn size(installation: &Installation<'_>, topic: &str) -> (u64, u64) {
    let consumer = from_the_beginning(installation, topic);
    let (mut records, mut bytes, mut ended) = (0, 0, 0);
    while ended < PARTITIONS {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(record)) => {
                records += 1;
                let length = |part: Option<&[u8]>| part.map_or(0, |part| part.len() as u64);
                bytes += length(record.key()) + length(record.payload());
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            other => panic!("{topic}: {other:?}"),
        }
    }
    (records, bytes)
}

fn from_the_beginning(installation: &Installation<'_>, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = installation
        .kafka
        .client()
        .set("group.id", installation.topic("reader"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..i32::try_from(PARTITIONS).unwrap() {
        all.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    consumer
}
