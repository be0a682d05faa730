//! A poll loop that does nothing with the records: what reading a topic takes at least.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::usage::cpu_seconds;
use crate::support::installation::Installation;

/// What reading a topic took.
pub struct Timing {
    pub seconds: f64,
    pub cpu_seconds: f64,
}

/// Reads `records` of a topic from the beginning, with these settings of the client besides those of a
/// reader of committed records.
pub fn read(
    installation: &Installation<'_>,
    (topic, partitions): (&str, u64),
    records: u64,
    settings: &[(&str, &str)],
) -> Timing {
    let mut config = installation.kafka.client();
    config
        .set("group.id", installation.topic("bare"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create().unwrap();
    let mut all = TopicPartitionList::new();
    let topic = installation.topic(topic);
    for partition in 0..i32::try_from(partitions).unwrap() {
        all.add_partition_offset(&topic, partition, Offset::Beginning)
            .unwrap();
    }
    let cpu = cpu_seconds("self");
    let start = Instant::now();
    consumer.assign(&all).unwrap();
    let (mut read, mut bytes) = (0, 0);
    while read < records {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            bytes += message.unwrap().payload().map_or(0, <[u8]>::len);
            read += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    black_box(bytes);
    Timing {
        seconds,
        cpu_seconds: cpu_seconds("self") - cpu,
    }
}
