//! Where partitions begin and end.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

/// Where partitions of a topic begin ([`Offset::Beginning`]) or end ([`Offset::End`]), as
/// the client's isolation level sees it: one question for all of them (ListOffsets, KIP-79).
///
/// # Errors
/// If the brokers do not answer within `patience`, or one of them does not tell.
pub(super) fn list_offsets<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    edge: Offset,
    patience: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    with_fresh_metadata(client.client(), topic, patience, || {
        ask(client, topic, partitions, edge, patience)
    })
}

/// Where a partition of a topic begins and where it ends, committed or not.
///
/// # Errors
/// If its leader does not answer within `patience`.
pub(crate) fn watermarks<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    patience: Duration,
) -> KafkaResult<(i64, i64)> {
    with_fresh_metadata(client, topic, patience, || {
        client.fetch_watermarks(topic, partition, patience)
    })
}

/// Asks, and once more with what the brokers say of the topic now if the client knows of no
/// such partition.
///
/// Of leaders a client knows what it has heard last. One that heard of the topic while it was
/// being created, or a broker was starting, may know no partition of it, and would not ask again for a quarter of
/// an hour (`metadata.max.age.ms`).
///
/// # Errors
/// Those of the question, and if the brokers do not answer within `patience`.
fn with_fresh_metadata<C: ClientContext, T>(
    client: &Client<C>,
    topic: &str,
    patience: Duration,
    question: impl Fn() -> KafkaResult<T>,
) -> KafkaResult<T> {
    match question() {
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
            client.fetch_metadata(Some(topic), patience)?;
            question()
        }
        answer => answer,
    }
}

fn ask<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    edge: Offset,
    patience: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut question = TopicPartitionList::new();
    for &partition in partitions {
        // Instead of timestamps, -2 and -1 ask for the list_offsets.
        question.add_partition_offset(topic, partition, edge)?;
    }
    let answer = client.offsets_for_times(question, patience)?;
    let mut list_offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        let Offset::Offset(offset) = element.offset() else {
            // The question, given back.
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NoOffset));
        };
        list_offsets.insert(element.partition(), offset);
    }
    Ok(list_offsets)
}
