//! Readers outside any group.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

/// The configuration of a reader of committed records that is assigned its partitions: it
/// never joins a group and commits nothing. librdkafka wants a group's `name` all the same;
/// that of [`with_group_id`] wins.
#[must_use]
pub fn reader_config(client: &ClientConfig, name: &str) -> ClientConfig {
    let mut config = client.clone();
    let name = client.get("group.id").unwrap_or(name);
    config
        .set("group.id", name)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
}

/// The configuration of a client whose readers bear the name of a group that their user may look
/// at. They do not join it; but librdkafka asks for the coordinator of the name again and again,
/// and brokers log each time that the user may not.
#[must_use]
pub fn with_group_id(client: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = client.clone();
    config.set("group.id", group);
    config
}

/// The next record, or what is wrong; none within `patience`. librdkafka looks for the group
/// although nobody joins it, and reports that the user may not. The reader is none the worse for
/// it: nobody needs a permission on a group that does not exist.
pub fn poll<C: ConsumerContext>(
    reader: &BaseConsumer<C>,
    patience: Duration,
) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    let polled = reader.poll(patience)?;
    let code = polled
        .as_ref()
        .err()
        .and_then(KafkaError::rdkafka_error_code);
    (code != Some(RDKafkaErrorCode::GroupAuthorizationFailed)).then_some(polled)
}
