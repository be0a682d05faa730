//! Configuration of consumers outside any group.

use rdkafka::ClientConfig;

/// Configures a consumer of committed records that is assigned its partitions, never joins
/// a group and commits nothing.
///
/// librdkafka requires a `group.id` nevertheless: that of [`with_group_id`], or else `name`.
#[must_use]
pub fn reader_config(client: &ClientConfig, name: &str) -> ClientConfig {
    let mut config = client.clone();
    let group = client.get("group.id").unwrap_or(name);
    config
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    config
}

/// Sets the `group.id` of a client's readers to a group that its user may describe.
///
/// The readers do not join that group, but librdkafka keeps looking up its coordinator, and
/// brokers log each lookup that the user is not authorized for.
#[must_use]
pub fn with_group_id(client: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = client.clone();
    config.set("group.id", group);
    config
}
