//! The policy topic as the controller has read it, and whether that is up to date: policies and
//! sources.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::errors::WithHint;
use crate::kafka::list_offsets::watermarks;
use crate::kafka::recreating_client::RecreatingClient;
use crate::kafka::topic_feed::{TopicEvent, TopicRecord};
use crate::policy::pauses::{SOURCE_PREFIX, is_control};
use crate::policy::store::PolicyStore;
use crate::source::topic::SourceStore;

/// Interval at which the end offset is fetched.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Bounds one request for the end offset.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an end offset must be unchanged to count as reached although the last record read
/// is before it: the offsets between them are transaction markers.
const UNCHANGED_END: Duration = Duration::from_secs(3);
/// The most records applied in one batch.
const MAX_BATCH: usize = 1_000;

/// The records of the policy topic, as far as they have been read.
#[derive(Debug, Default)]
pub struct PublishedRecords {
    /// The latest value of each policy, valid or not, by full name.
    pub values: BTreeMap<String, Vec<u8>>,
    /// The active policies.
    pub store: PolicyStore,
    /// The latest value of each source, valid or not, by full name.
    pub source_values: BTreeMap<String, Vec<u8>>,
    /// The active sources.
    pub sources: SourceStore,
    /// The offset after the last record read.
    pub position: i64,
    /// Whether the end offset at the start of the feed has been reached.
    caught_up: bool,
    /// How often the topic has been found to be created again.
    recreations: u64,
}

/// The last end offset fetched from the brokers.
#[derive(Clone, Debug)]
pub struct EndOffsetProbe {
    /// The end offset, or why it is unknown.
    pub end: Result<i64, String>,
    /// When it was requested, on the clock.
    pub requested_at: Duration,
    /// When the same end offset was first requested.
    unchanged_since: Duration,
}

impl PublishedRecords {
    /// Returns whether all records have been read that were in the topic at `since`,
    /// according to `probe`.
    #[must_use]
    pub fn is_current(&self, probe: &EndOffsetProbe, since: Duration) -> bool {
        let requested_at = probe.requested_at;
        let unchanged = requested_at.saturating_sub(probe.unchanged_since) >= UNCHANGED_END;
        let reached = probe
            .end
            .as_ref()
            .is_ok_and(|end| self.position >= *end || unchanged);
        self.caught_up && reached && requested_at >= since
    }

    fn apply(&mut self, event: TopicEvent) {
        match event {
            TopicEvent::CaughtUp => self.caught_up = true,
            TopicEvent::Record(record) => self.apply_record(record),
        }
    }

    fn apply_record(&mut self, record: TopicRecord) {
        if record.offset < self.position {
            // The topic has been deleted and created again.
            self.clear();
        }
        self.position = record.offset + 1;
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        // Invalid records are replaced or deleted like outdated ones.
        let _rejection = self.store.apply(&record);
        let _rejection = self.sources.apply(key, value);
        let Some(key) = key.and_then(|key| str::from_utf8(key).ok()) else {
            return;
        };
        let (values, name) = match key.strip_prefix(SOURCE_PREFIX) {
            Some(name) => (&mut self.source_values, name),
            None if is_control(Some(key.as_bytes())) => return,
            None => (&mut self.values, key),
        };
        match record.value {
            Some(value) => values.insert(name.to_owned(), value),
            None => values.remove(name),
        };
    }

    /// Forgets the records, but neither the active policies nor the active sources.
    fn clear(&mut self) {
        self.values.clear();
        self.source_values.clear();
    }
}

/// Applies the records of the feeds that `start` makes until one ends. A topic that has been created
/// again is read by another feed: the new topic may have a record at the offset that the present one
/// waits for, so that it would never see those before.
///
/// # Errors
/// If the first feed cannot be started.
pub fn update(
    start: impl Fn() -> anyhow::Result<Receiver<TopicEvent>> + Send + 'static,
    published: watch::Sender<PublishedRecords>,
) -> anyhow::Result<()> {
    let mut feed = start()?;
    tokio::spawn(async move {
        let mut changes = published.subscribe();
        let mut seen = 0;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = feed.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        return;
                    }
                    published.send_modify(|published| {
                        batch.drain(..).for_each(|event| published.apply(event));
                    });
                }
                Ok(found) = changes.wait_for(|published| published.recreations != seen) => {
                    seen = found.recreations;
                    drop(found);
                    match start() {
                        Ok(started) => feed = started,
                        Err(error) => tracing::error!(%error, "cannot read the policies again"),
                    }
                }
            }
        }
    });
    Ok(())
}

/// Fetches the end offset of the topic twice a second, on a thread, until `stop`.
///
/// # Errors
/// If librdkafka rejects the configuration, or the thread cannot be started.
pub fn probe(
    config: &ClientConfig,
    topic: String,
    clock: Clock,
    published: watch::Sender<PublishedRecords>,
    health: &Health,
    stop: CancellationToken,
) -> anyhow::Result<watch::Receiver<EndOffsetProbe>> {
    let config = config.clone();
    let mut client = RecreatingClient::new(clock, move || config.create::<BaseConsumer>())?;
    let first = EndOffsetProbe {
        end: Err("the end offset has not been fetched yet".to_owned()),
        requested_at: Duration::ZERO,
        unchanged_since: Duration::ZERO,
    };
    let (sender, receiver) = watch::channel(first);
    let probe = move |heartbeat: Heartbeat| {
        while !stop.is_cancelled() && !sender.is_closed() {
            heartbeat.beat();
            let position = published.borrow().position;
            let requested_at = clock.elapsed();
            let response =
                client.ask(|client| watermarks(client.client(), &topic, 0, PROBE_TIMEOUT));
            if let Ok((_, end)) = response
                && end < position
            {
                tracing::warn!(
                    topic,
                    "the topic has been created again; republishing its policies and sources"
                );
                published.send_modify(|published| {
                    published.clear();
                    published.position = 0;
                    published.caught_up = false;
                    published.recreations += 1;
                });
            }
            let end = response.map(|(_, end)| end).map_err(|error| {
                format!("cannot read {topic}: {}; check that the brokers are up and that the topic exists (sundown topics create)", WithHint(&error))
            });
            sender.send_modify(|probe| {
                let unchanged = probe.end.is_ok() && probe.end == end;
                *probe = EndOffsetProbe {
                    unchanged_since: if unchanged {
                        probe.unchanged_since
                    } else {
                        requested_at
                    },
                    end,
                    requested_at,
                };
            });
            std::thread::sleep(PROBE_INTERVAL);
        }
    };
    health.spawn("policies-end", HELPER_TIMEOUT, probe)?;
    Ok(receiver)
}
