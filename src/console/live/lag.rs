//! How far consumer groups are behind, as the brokers see it: whoever reads, or nobody.

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio_util::sync::CancellationToken;

use super::Live;
use super::group_lag::GroupLag;
use crate::kafka::errors::WithHint;
use crate::kafka::group_offsets::{GroupOffsets, PartitionOffsets};

/// How often the brokers are asked.
const EVERY: Duration = Duration::from_secs(3);
/// How long to wait before looking whether to stop.
const NAP: Duration = Duration::from_millis(100);

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
    let groups = groups.into_iter().map(|(group, topic)| {
        let offsets = GroupOffsets::new(config, &group, &topic)?;
        Ok((offsets, group, topic))
    });
    let groups = groups.collect::<KafkaResult<Vec<_>>>()?;
    thread::Builder::new()
        .name("console-lag".to_owned())
        .spawn(move || {
            while !stop.is_cancelled() {
                let asked = groups.iter().map(|(offsets, group, topic)| {
                    let partitions = ask(offsets)?;
                    Ok(GroupLag {
                        group: group.clone(),
                        topic: topic.clone(),
                        partitions,
                    })
                });
                let answer = asked.collect::<KafkaResult<Vec<_>>>();
                live.update(|state| match answer {
                    Ok(lags) => (state.lags, state.trouble) = (lags, None),
                    Err(error) => state.trouble = Some(WithHint(&error).to_string()),
                });
                sleep(EVERY, &stop);
            }
        })?;
    Ok(())
}

/// A topic that is not there yet has no partitions.
fn ask(offsets: &GroupOffsets) -> KafkaResult<Vec<PartitionOffsets>> {
    match offsets.fetch() {
        Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(Vec::new()),
        answer => answer,
    }
}

fn sleep(time: Duration, stop: &CancellationToken) {
    let mut left = time;
    while !left.is_zero() && !stop.is_cancelled() {
        let step = left.min(NAP);
        thread::sleep(step);
        left -= step;
    }
}
