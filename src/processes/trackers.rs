//! The live trackers, read from the topic of process reports.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed};
use crate::processes::{ProcessReport, is_live};
use crate::session::Timestamp;
use crate::session_lookup::owners::{self, TrackerEndpoint};

/// How long reading the topic may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the live trackers.
///
/// # Errors
/// If the topic cannot be read to its end.
pub(crate) async fn trackers(
    config: &ClientConfig,
    topic: &str,
) -> anyhow::Result<Vec<TrackerEndpoint>> {
    let stop = CancellationToken::new();
    let _stopped_at_the_end = stop.clone().drop_guard();
    let mut feed = TopicFeed::start(config, topic, &Health::default(), stop)?;
    let mut reports: BTreeMap<String, (ProcessReport, Timestamp)> = BTreeMap::new();
    let read = async {
        while let Some(TopicEvent::Record(record)) = feed.recv().await {
            let value = record.value.as_deref().unwrap_or_default();
            // Reports of later releases may not parse.
            if let Ok(report) = serde_json::from_slice::<ProcessReport>(value) {
                reports.insert(report.id.clone(), (report, record.timestamp));
            }
        }
    };
    timeout(READ_TIMEOUT, read).await.with_context(|| {
        let seconds = READ_TIMEOUT.as_secs();
        format!("cannot read {topic} to its end within {seconds} s; check that brokers are up and that this user has Read on the topic")
    })?;
    // The newest report shows the brokers' clock, from which this machine's may differ.
    let now = reports.values().map(|(_, at)| *at).max();
    let live = reports
        .values()
        .filter(|(_, at)| now.is_some_and(|now| is_live(*at, now)));
    Ok(owners::trackers(live.map(|(report, at)| (report, *at))))
}
