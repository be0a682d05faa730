//! How far consumer groups are behind, as the brokers see it: whoever reads, or nobody.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::Live;

/// How often the brokers are asked.
const EVERY: Duration = Duration::from_secs(3);
/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before looking whether to stop.
const NAP: Duration = Duration::from_millis(100);

/// How far a group is behind on its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// The group.
    pub group: String,
    /// Its topic.
    pub topic: String,
    /// Each partition, in order.
    pub partitions: Vec<PartitionLag>,
}

/// How far a group is behind on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: i32,
    /// Where the partition ends.
    pub end: i64,
    /// Where the group will go on; none if it has committed nothing.
    pub committed: Option<i64>,
}

impl PartitionLag {
    /// Records that the group has not finished; none if it has committed nothing.
    #[must_use]
    pub fn lag(self) -> Option<i64> {
        Some((self.end - self.committed?).max(0))
    }
}

impl GroupLag {
    /// The sum over all partitions.
    #[must_use]
    pub fn total(&self) -> i64 {
        let lags = self.partitions.iter().filter_map(|one| one.lag());
        lags.sum()
    }
}

/// Asks for each of these groups and its topic, over and over, until `stop`.
///
/// # Errors
/// If the client's configuration is not one that librdkafka accepts, or no thread can be
/// started.
pub fn start(
    config: &ClientConfig,
    groups: Vec<(String, String)>,
    live: Live,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let consumers = groups.into_iter().map(|(group, topic)| {
        let consumer: BaseConsumer = config
            .clone()
            // Asks for its offsets, and never joins.
            .set("group.id", &group)
            .set("enable.auto.commit", "false")
            .create()?;
        Ok((consumer, group, topic))
    });
    let consumers = consumers.collect::<KafkaResult<Vec<_>>>()?;
    thread::Builder::new()
        .name("console-lag".to_owned())
        .spawn(move || {
            while !stop.is_cancelled() {
                let asked = consumers.iter().map(|(consumer, group, topic)| {
                    let partitions = ask(consumer, topic)?;
                    Ok(GroupLag {
                        group: group.clone(),
                        topic: topic.clone(),
                        partitions,
                    })
                });
                let answer = asked.collect::<KafkaResult<Vec<_>>>();
                live.update(|state| match answer {
                    Ok(lags) => (state.lags, state.trouble) = (lags, None),
                    Err(error) => state.trouble = Some(error.to_string()),
                });
                sleep(EVERY, &stop);
            }
        })?;
    Ok(())
}

fn ask(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Vec<PartitionLag>> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|one| one.partitions());
    let (mut asked, mut ends) = (TopicPartitionList::new(), TopicPartitionList::new());
    for partition in partitions {
        asked.add_partition(topic, partition.id());
        ends.add_partition_offset(topic, partition.id(), Offset::End)?;
    }
    if asked.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(asked, TIMEOUT)?;
    // As a timestamp, -1 asks for the end.
    let ends = consumer.offsets_for_times(ends, TIMEOUT)?;
    let mut lags = Vec::new();
    for element in ends.elements() {
        let partition = element.partition();
        let known = committed.find_partition(topic, partition);
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        lags.push(PartitionLag {
            partition,
            end: offset(element.offset()).unwrap_or_default(),
            committed: known.and_then(|element| offset(element.offset())),
        });
    }
    lags.sort_unstable_by_key(|lag| lag.partition);
    Ok(lags)
}

fn sleep(time: Duration, stop: &CancellationToken) {
    let mut left = time;
    while !left.is_zero() && !stop.is_cancelled() {
        let step = left.min(NAP);
        thread::sleep(step);
        left -= step;
    }
}
