//! Members of consumer groups.
//!
//! librdkafka reports a rebalance in a callback and then waits until the application has
//! assigned or unassigned the partitions. The callback here only queues a [`Rebalance`]. The
//! loop that polls handles it right after the poll, when it is free to commit first.

mod consumer;
mod context;
mod eviction;
mod member;
mod silence;
mod stall;

use std::time::Duration;

use clap::ValueEnum;
use rdkafka::ClientConfig;

pub use consumer::{ConsumerFailed, GroupConsumer};
pub use context::Rebalance;
pub use eviction::{EvictionDetector, MemberEvicted};
pub use member::Member;
pub use silence::SilentMember;
pub use stall::{PartitionStalled, StallDetector};

/// The protocol by which a consumer group rebalances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupProtocol {
    /// The group's members assign partitions, cooperatively (KIP-429).
    Classic,
    /// The brokers assign partitions (KIP-848).
    Consumer,
}

/// The settings in which members of different groups differ.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// The group, prefix included.
    pub group: &'a str,
    pub protocol: GroupProtocol,
    /// Time without a heartbeat after which the group evicts a member. With
    /// [`GroupProtocol::Consumer`], the brokers decide.
    pub session_timeout: Duration,
    /// Bound on what librdkafka fetches ahead of the application, in KiB.
    pub prefetch_kib: u32,
    /// Start position in a partition without a committed offset: `earliest` or `error`.
    pub offset_reset: &'static str,
}

/// Returns the librdkafka configuration of a member of a group. `client` holds the connection
/// settings and the user's -X options, which take precedence wherever that is safe.
#[must_use]
pub fn member_config(client: &ClientConfig, member: &Membership<'_>) -> ClientConfig {
    let timeout = member.session_timeout.as_millis();
    let mut defaults = vec![
        ("group.id", member.group.to_owned()),
        (
            "queued.max.messages.kbytes",
            member.prefetch_kib.to_string(),
        ),
        // How long fetching pauses at that bound. In the default of a second the application
        // would process the whole queue several times over.
        ("fetch.queue.backoff.ms", "10".to_owned()),
        // With the default of a minute, a broker that vanishes without closing its connections
        // delays reading for as long. The Java client's `request.timeout.ms` is 30 s.
        ("socket.timeout.ms", "30000".to_owned()),
        // With the default of five minutes, a newly granted permission would take as long to
        // be noticed.
        ("topic.metadata.refresh.interval.ms", "15000".to_owned()),
    ];
    let by_brokers = client.get("group.protocol") == Some("consumer");
    if member.protocol == GroupProtocol::Consumer || by_brokers {
        defaults.push(("group.protocol", "consumer".to_owned()));
    } else {
        defaults.extend([
            (
                "partition.assignment.strategy",
                "cooperative-sticky".to_owned(),
            ),
            ("session.timeout.ms", timeout.to_string()),
            ("heartbeat.interval.ms", (timeout / 5).max(100).to_string()),
        ]);
    }
    // Not the other way round: a configuration does not list its own passwords.
    let mut config = client.clone();
    for (key, value) in defaults {
        if client.get(key).is_none() {
            config.set(key, value);
        }
    }
    config
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", member.offset_reset);
    config
}
