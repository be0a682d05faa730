//! Lag of consumer groups as the brokers report it, with or without running members.

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio_util::sync::CancellationToken;

use super::Live;
use super::group_lag::GroupLag;
use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::errors::WithHint;
use crate::kafka::group_offsets::{GroupOffsets, PartitionOffsets};
use crate::kafka::recreating_client::RecreatingClient;

const POLL_INTERVAL: Duration = Duration::from_secs(3);
/// How often a wait checks whether to stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Polls the lag of each `(group, topic)` on a thread of its own until `stop`.
///
/// # Errors
/// If librdkafka rejects the configuration, or the thread cannot be started.
pub fn start(
    config: &ClientConfig,
    groups: Vec<(String, String)>,
    live: Live,
    clock: Clock,
    health: &Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let groups = groups.into_iter().map(|(group, topic)| {
        let (config, names) = (config.clone(), (group.clone(), topic.clone()));
        let create = move || GroupOffsets::new(&config, &names.0, &names.1);
        Ok((RecreatingClient::new(clock, create)?, group, topic))
    });
    let mut groups = groups.collect::<KafkaResult<Vec<_>>>()?;
    let poll = move |heartbeat: Heartbeat| {
        while !stop.is_cancelled() {
            let lags = groups.iter_mut().map(|(offsets, group, topic)| {
                heartbeat.beat();
                let partitions = offsets.ask(|offsets| partition_offsets(offsets))?;
                Ok(GroupLag {
                    group: group.clone(),
                    topic: topic.clone(),
                    partitions,
                })
            });
            let lags = lags.collect::<KafkaResult<Vec<_>>>();
            live.update(|state| match lags {
                Ok(lags) => (state.group_lags, state.kafka_error) = (lags, None),
                Err(error) => state.kafka_error = Some(WithHint(&error).to_string()),
            });
            sleep(POLL_INTERVAL, &stop);
        }
    };
    health.spawn("console-lag", HELPER_TIMEOUT, poll)?;
    Ok(())
}

/// The offsets of all partitions; none while the topic does not exist.
fn partition_offsets(offsets: &GroupOffsets) -> KafkaResult<Vec<PartitionOffsets>> {
    match offsets.fetch() {
        Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(Vec::new()),
        result => result,
    }
}

fn sleep(time: Duration, stop: &CancellationToken) {
    let mut left = time;
    while !left.is_zero() && !stop.is_cancelled() {
        let step = left.min(STOP_CHECK_INTERVAL);
        thread::sleep(step);
        left -= step;
    }
}
