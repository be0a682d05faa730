//! How the sessions of the group are distributed over partitions, as the committed offsets state.
//!
//! Sessions stay where they are when partitions are added: the number of partitions by which they were
//! distributed first is committed with every offset and goes on to count. Should all offsets be lost, the
//! records of `sundown.watermarks` state it as well. Trackers that find neither agree on it there: partitions
//! may be added while they start.

mod agreement;

use std::time::Duration;

use anyhow::Context;
use rdkafka::error::KafkaResult;
use tokio_util::sync::CancellationToken;

use super::offset_metadata::OffsetMetadata;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_client::RecreatingClient;
use crate::kafka::topic_reader::{ReaderOptions, TopicReader};
use crate::kafka::upstream::UpstreamReader;
use crate::wire::routing::{Routing, RoutingKey};

pub(super) use agreement::LayoutAgreement;

/// Bounds the request for the committed offsets.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between requests while the brokers do not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Why the sessions of the group cannot be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The routing key has changed.
    #[error(
        "sessions are distributed by {}, not by {}: start all trackers with --routing-key {}; to change it, stop all trackers and discard all sessions with: sundown topics reset", before.as_str(), now.as_str(), before.as_str()
    )]
    Key { before: RoutingKey, now: RoutingKey },
    /// Partitions disagree.
    #[error(
        "sessions are distributed over {one} partitions on some partitions and over {other} on others, so active sessions might end; stop all trackers and discard all sessions with: sundown topics reset"
    )]
    Mixed { one: i32, other: i32 },
}

/// Returns the routing of the sessions that were distributed by `stated`, which is `topic` if there are
/// none.
///
/// # Errors
/// [`LayoutError`].
pub fn layout(
    stated: impl IntoIterator<Item = Routing>,
    topic: Routing,
) -> Result<Routing, LayoutError> {
    let mut stated = stated.into_iter();
    let Some(first) = stated.next() else {
        return Ok(topic);
    };
    if first.key != topic.key {
        let (before, now) = (first.key, topic.key);
        return Err(LayoutError::Key { before, now });
    }
    match stated.find(|other| *other != first) {
        Some(other) => Err(LayoutError::Mixed {
            one: first.partitions,
            other: other.partitions,
        }),
        None => Ok(first),
    }
}

/// Reads from the offsets that the group has committed how its sessions are distributed over the
/// partitions of the log; if it has committed none, from `upstream`; if that states nothing either, agrees on
/// it with the other trackers, and proposes `topic`. The configuration has the `group.id`. Returns `None` if
/// `stop` is cancelled before the brokers respond. Blocks outside async tasks.
///
/// # Errors
/// [`LayoutError`], and if librdkafka rejects the configuration.
pub(super) fn read_layout(
    agreement: &LayoutAgreement<'_>,
    topic: Routing,
    upstream: &mut UpstreamReader,
    (health, stop): (&Health, &CancellationToken),
) -> anyhow::Result<Option<Routing>> {
    let log = agreement.log;
    let options = ReaderOptions {
        name: "sundown-layout",
        request_timeout: REQUEST_TIMEOUT,
        properties: &[],
    };
    // Offsets that a transaction is about to commit state nothing new.
    let config = agreement.config.clone();
    let create = move || TopicReader::read_uncommitted(&config, &options);
    let mut reader = RecreatingClient::new(Clock::default(), create)?;
    while !stop.is_cancelled() {
        let committed = reader.ask(|reader| stated(reader, log, topic.partitions));
        let stated = committed.and_then(|committed| {
            if !committed.is_empty() {
                return Ok(committed);
            }
            let stated = stated_by_trackers(upstream, topic.partitions)?;
            if !stated.is_empty() {
                return Ok(stated);
            }
            Ok(vec![agreement.agree(upstream, topic)?])
        });
        match stated {
            Ok(stated) => {
                health.set_ready("kafka");
                let layout = layout(stated, topic).context("cannot continue the sessions")?;
                return Ok(Some(layout));
            }
            Err(error) => {
                let error = WithHint(&error).to_string();
                tracing::warn!(error, "cannot read how sessions are distributed; retrying");
                health.set_not_ready(
                    "kafka",
                    format!("reading how sessions are distributed: {error}"),
                );
                std::thread::sleep(RETRY_INTERVAL);
            }
        }
    }
    Ok(None)
}

fn stated(reader: &TopicReader, log: &str, partitions: i32) -> KafkaResult<Vec<Routing>> {
    let partitions: Vec<i32> = (0..partitions).collect();
    let committed = reader.committed_offsets(log, &partitions)?;
    let stated = committed
        .values()
        .filter_map(|committed| OffsetMetadata::decode(&committed.metadata)?.routing);
    Ok(stated.collect())
}

/// What trackers state, unless it is about partitions that a topic had which was deleted since.
fn stated_by_trackers(upstream: &mut UpstreamReader, partitions: i32) -> KafkaResult<Vec<Routing>> {
    let stated = upstream.routings()?.into_iter();
    Ok(stated.filter(|one| one.partitions <= partitions).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(partitions: i32) -> Routing {
        let key = RoutingKey::SessionId;
        Routing { partitions, key }
    }

    #[test]
    fn sessions_stay_distributed_as_they_were() {
        assert_eq!(layout([], routing(3)), Ok(routing(3)));
        let stated = [routing(3), routing(3)];
        // With fewer partitions than that, every partition is held.
        for count in [2, 3, 6, 12] {
            assert_eq!(layout(stated, routing(count)), Ok(routing(3)));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_remedy() {
        let by_user = Routing {
            key: RoutingKey::UserId,
            ..routing(3)
        };
        for (stated, topic, words) in [
            (vec![by_user], routing(3), "--routing-key user_id"),
            (vec![routing(3), routing(6)], routing(6), "topics reset"),
        ] {
            let error = layout(stated, topic).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
