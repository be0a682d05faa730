//! Partitions of a topic and their offsets, as brokers report them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::session::Timestamp;

/// The partitions of a topic.
///
/// # Errors
/// If the topic does not exist, or no broker responds within `timeout`.
pub(super) fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let described = metadata.topics().first();
    let error = described.and_then(rdkafka::metadata::MetadataTopic::error);
    if let Some(error) = error {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions = described.into_iter().flat_map(|topic| topic.partitions());
    let partitions: Vec<_> = partitions.map(|partition| partition.id()).collect();
    if partitions.is_empty() {
        let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
        return Err(KafkaError::MetadataFetch(unknown));
    }
    Ok(partitions)
}

/// The first ([`Offset::Beginning`]) or end ([`Offset::End`]) offset of each partition, at
/// the client's isolation level, in one `ListOffsets` request per broker (KIP-79).
///
/// # Errors
/// If the brokers do not respond within `timeout`, or a response omits a partition.
pub(super) fn list_offsets<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    offset: Offset,
    timeout: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    with_fresh_metadata(client.client(), topic, timeout, || {
        // The timestamps -2 and -1 select the first and the end offset.
        let listed = offsets_for_times(client, topic, partitions, offset, timeout)?;
        let offsets = listed.into_iter().map(|(partition, offset)| match offset {
            Offset::Offset(offset) => Ok((partition, offset)),
            // librdkafka returns the request's offset for a partition without response.
            _ => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NoOffset)),
        });
        offsets.collect()
    })
}

/// The end offset of each partition whose leader answers. Partitions that have lost their leader
/// are left out.
///
/// # Errors
/// If the brokers do not respond within `timeout`.
pub(super) fn list_led_ends<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut request = TopicPartitionList::new();
    for &partition in partitions {
        request.add_partition_offset(topic, partition, Offset::End)?;
    }
    let response = client.offsets_for_times(request, timeout)?;
    let elements = response.elements();
    let listed = elements.iter().filter(|element| element.error().is_ok());
    let ends = listed.filter_map(|element| match element.offset() {
        Offset::Offset(end) => Some((element.partition(), end)),
        // librdkafka returns the request's offset for a partition without response.
        _ => None,
    });
    Ok(ends.collect())
}

/// The offset of a partition's first record with this timestamp or a later one, if there is
/// such a record.
///
/// # Errors
/// If the partition's leader does not respond within `timeout`.
pub(super) fn offset_for_time<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    time: Timestamp,
    timeout: Duration,
) -> KafkaResult<Option<i64>> {
    // Negative timestamps select the first and the end offset.
    let time = Offset::Offset(time.as_millis().max(0));
    let listed = with_fresh_metadata(client.client(), topic, timeout, || {
        offsets_for_times(client, topic, &[partition], time, timeout)
    })?;
    Ok(match listed.first() {
        Some((_, Offset::Offset(offset))) => Some(*offset),
        _ => None,
    })
}

/// A partition's first offset and its end offset at the client's isolation level.
///
/// # Errors
/// If the partition's leader does not respond within `timeout`.
pub(crate) fn watermarks<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<(i64, i64)> {
    with_fresh_metadata(client, topic, timeout, || {
        #[expect(
            clippy::disallowed_methods,
            reason = "retried with fresh metadata here"
        )]
        client.fetch_watermarks(topic, partition, timeout)
    })
}

/// Sends a request and, if the client does not know the partition, sends it once more after
/// refreshing the topic's metadata.
///
/// A client that fetched metadata while the topic was being created, or while a broker was
/// starting, may know no partition of it, and does not refresh for a quarter of an hour
/// (`metadata.max.age.ms`).
fn with_fresh_metadata<C: ClientContext, T>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
    request: impl Fn() -> KafkaResult<T>,
) -> KafkaResult<T> {
    match request() {
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
            client.fetch_metadata(Some(topic), timeout)?;
            request()
        }
        response => response,
    }
}

fn offsets_for_times<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    time: Offset,
    timeout: Duration,
) -> KafkaResult<Vec<(i32, Offset)>> {
    let mut request = TopicPartitionList::new();
    for &partition in partitions {
        request.add_partition_offset(topic, partition, time)?;
    }
    let response = client.offsets_for_times(request, timeout)?;
    let listed = response.elements().into_iter().map(|element| {
        element.error()?;
        Ok((element.partition(), element.offset()))
    });
    listed.collect()
}
