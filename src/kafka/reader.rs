//! Readers outside any group.

use rdkafka::ClientConfig;

/// The configuration of a reader of committed records that is assigned its partitions: it
/// never joins a group and commits nothing. librdkafka wants a group's `name` all the same.
#[must_use]
pub fn reader_config(client: &ClientConfig, name: &str) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("group.id", name)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
}
