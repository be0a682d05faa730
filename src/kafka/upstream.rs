//! Reads `sundown.watermarks`.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset};

use super::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::clock::Clock;
use crate::wire::routing::Routing;
use crate::wire::watermark::{Upstream, WatermarkError, WatermarkStore};

/// The topic's only partition.
pub const PARTITION: i32 = 0;
/// Bounds one request to the brokers, and reading to the end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one poll waits for records.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Reads the topic of watermarks, to its end each time.
pub struct UpstreamReader {
    config: ClientConfig,
    reader: TopicReader,
    settings: UpstreamSettings,
    clock: Clock,
    store: WatermarkStore,
    /// Records that cannot be used, by [`WatermarkError::REASONS`].
    unusable: [u64; WatermarkError::REASONS.len()],
    /// The next offset to be read; `None` before the partition is assigned.
    position: Option<i64>,
}

/// What to read, and for whom.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// The topic of watermarks.
    pub topic: String,
    /// The topic of session events.
    pub session_logs: String,
    /// The routing of this process.
    pub routing: Routing,
    /// The key of this process's own record.
    pub own_key: Vec<u8>,
}

impl UpstreamReader {
    /// Creates a reader, which connects when it is first used.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(
        config: &ClientConfig,
        settings: UpstreamSettings,
        clock: Clock,
    ) -> KafkaResult<Self> {
        Ok(Self {
            reader: reader(config)?,
            config: config.clone(),
            settings,
            clock,
            store: WatermarkStore::default(),
            unusable: [0; WatermarkError::REASONS.len()],
            position: None,
        })
    }

    /// Sets the routing of this process.
    pub fn set_routing(&mut self, routing: Routing) {
        self.settings.routing = routing;
    }

    /// Returns the routings that trackers state by now. After an error, the next call has a new client.
    ///
    /// # Errors
    /// If the end cannot be listed or reached.
    pub fn routings(&mut self) -> KafkaResult<BTreeSet<Routing>> {
        self.read_or_recreate()?;
        Ok(self.store.routings())
    }

    /// Returns the layout that trackers have agreed on for the topic of session events with this id, if any,
    /// as the records up to and including the offset `written` state it. After an error, the next call has a
    /// new client.
    ///
    /// # Errors
    /// If the end cannot be listed or reached.
    pub fn agreed_layout(
        &mut self,
        topic_id: Option<&str>,
        written: Option<i64>,
    ) -> KafkaResult<Option<Routing>> {
        let start = self.clock.elapsed();
        loop {
            self.read_or_recreate()?;
            if self.position > written {
                return Ok(self.store.agreed_layout(topic_id));
            }
            // A transaction is open before the record.
            if self.clock.elapsed().saturating_sub(start) > REQUEST_TIMEOUT {
                let timed_out = RDKafkaErrorCode::OperationTimedOut;
                return Err(KafkaError::MessageConsumption(timed_out));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn read_or_recreate(&mut self) -> KafkaResult<()> {
        let Err(error) = self.read_to_end() else {
            return Ok(());
        };
        self.recreate()?;
        Err(error)
    }

    /// Replaces the client, which then reads the topic from its beginning.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub(super) fn recreate(&mut self) -> KafkaResult<()> {
        self.reader = reader(&self.config)?;
        self.position = None;
        self.store = WatermarkStore::default();
        Ok(())
    }

    /// Reads everything that was committed before the call, and returns what it comes to.
    ///
    /// # Errors
    /// If the end cannot be listed or reached.
    pub(super) fn read_to_end(&mut self) -> KafkaResult<Upstream> {
        let topic = self.settings.topic.clone();
        let ends = self.reader.end_offsets(&topic, &[PARTITION])?;
        let end = ends.get(&PARTITION).copied().unwrap_or_default();
        if self.position > Some(end) {
            // The topic was deleted and created again.
            self.position = None;
            self.store = WatermarkStore::default();
        }
        if self.position.is_none() {
            self.reader
                .assign([(topic.as_str(), PARTITION, Offset::Beginning)])?;
            self.position = Some(0);
        }
        let start = self.clock.elapsed();
        while self.position < Some(end) {
            if self.clock.elapsed().saturating_sub(start) > REQUEST_TIMEOUT {
                let timed_out = RDKafkaErrorCode::OperationTimedOut;
                return Err(KafkaError::MessageConsumption(timed_out));
            }
            self.poll(&topic, end)?;
        }
        let UpstreamSettings {
            session_logs,
            routing,
            own_key,
            ..
        } = &self.settings;
        Ok(Upstream {
            unusable: self.unusable,
            ..self.store.upstream(session_logs, *routing, own_key)
        })
    }

    fn poll(&mut self, topic: &str, end: i64) -> KafkaResult<()> {
        let at_end = match self.reader.poll(POLL_INTERVAL) {
            Ok(Some(Polled::Record(record))) => {
                let (key, offset) = (record.key().unwrap_or_default(), record.offset());
                if let Err(error) = self.store.apply(key, record.payload()) {
                    on_unusable(&mut self.unusable, topic, offset, &error);
                }
                self.position = Some(offset + 1);
                return Ok(());
            }
            Ok(Some(Polled::EndOfPartition(_))) => true,
            // The reader logs errors, and librdkafka retries.
            Ok(None) | Err(_) => false,
        };
        // Past transaction markers and aborted records, which are not returned.
        let positions = self.reader.positions(topic)?;
        let mut positions = positions.iter();
        let known = positions.find(|(partition, _)| *partition == PARTITION);
        match known {
            Some(&(_, position)) => self.position = self.position.max(Some(position)),
            // There are no other records before the end.
            None if at_end => self.position = self.position.max(Some(end)),
            None => {}
        }
        Ok(())
    }
}

fn on_unusable(counts: &mut [u64], topic: &str, offset: i64, error: &WatermarkError) {
    let reason = error.reason();
    let counts = counts.iter_mut().zip(WatermarkError::REASONS);
    counts
        .filter(|(_, name)| *name == reason)
        .for_each(|(count, _)| *count += 1);
    tracing::warn!(
        topic,
        offset,
        reason,
        "ignoring a record that states no watermark"
    );
}

fn reader(config: &ClientConfig) -> KafkaResult<TopicReader> {
    let options = ReaderOptions {
        name: "sundown-watermarks",
        request_timeout: REQUEST_TIMEOUT,
        properties: &[("auto.offset.reset", "earliest")],
    };
    TopicReader::new(config, &options)
}
