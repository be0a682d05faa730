//! Waits until a group has read a topic to its end.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::installation::Installation;

/// Without progress for so long, the tracker has stopped.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(600);

/// Compares a group's committed offsets with the ends of a topic.
pub struct Watch {
    consumer: BaseConsumer,
    question: TopicPartitionList,
    ends: Vec<i64>,
}

impl Watch {
    /// Of `session_logs`; the ends are those of now.
    pub fn new(installation: &Installation<'_>, group: &str, partitions: u64) -> Self {
        Self::of_topic(installation, group, ("session_logs", partitions))
    }

    /// The same of any topic.
    pub fn of_topic(
        installation: &Installation<'_>,
        group: &str,
        (topic, partitions): (&str, u64),
    ) -> Self {
        let consumer: BaseConsumer = installation
            .kafka
            .client()
            .set("group.id", installation.topic(group))
            .create()
            .unwrap();
        let topic = installation.topic(topic);
        let mut question = TopicPartitionList::new();
        let mut ends = Vec::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap();
            question.add_partition(&topic, partition);
            let (_, end) = consumer
                .fetch_watermarks(&topic, partition, Duration::from_secs(10))
                .unwrap();
            ends.push(end);
        }
        Self {
            consumer,
            question,
            ends,
        }
    }

    pub fn await_drained(&self) {
        let begun = Instant::now();
        while !self.drained() {
            assert!(begun.elapsed() < PROGRESS_TIMEOUT, "not drained");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn drained(&self) -> bool {
        let committed = self
            .consumer
            .committed_offsets(self.question.clone(), Duration::from_secs(10))
            .unwrap();
        let offsets = committed.elements();
        let mut pairs = offsets.iter().zip(&self.ends);
        // A partition without records has nothing to commit.
        pairs.all(|(element, end)| *end == 0 || element.offset() == Offset::Offset(*end))
    }
}
