//! What `sundown.policies` holds, and writing to it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::FutureRecord;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::list_offsets::watermarks;
use crate::kafka::recreating_producer::RecreatingProducer;
use crate::kafka::topic_feed::{TopicEvent, TopicRecord};
use crate::policy::pauses::is_control;

/// How often the brokers are asked where the topic ends.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// How long they may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an end has to stay where it is to count as reached by a reader that has come
/// to no record there: what is left are transaction markers.
const SETTLED: Duration = Duration::from_secs(3);
/// The most records taken in at once.
const BATCH: usize = 1_000;

/// The records, as far as they have been read.
#[derive(Debug, Default)]
pub struct Records {
    /// The last value of each policy's key that has one.
    pub by_name: BTreeMap<String, Vec<u8>>,
    /// One past the last offset read.
    pub position: i64,
    /// Whether the end that there was at the start has been reached.
    caught_up: bool,
}

/// What the brokers last said of the topic.
#[derive(Clone, Debug)]
pub struct EndOffsetProbe {
    /// Where it ends, or why that is not known.
    pub end: Result<i64, String>,
    /// When they were asked, on the clock.
    asked_at: Duration,
    /// Since when the end is where it is.
    unchanged_since: Duration,
}

impl Records {
    /// Whether these are all the records there were at `since`, by what the brokers said
    /// in `probe`.
    #[must_use]
    pub fn current(&self, probe: &EndOffsetProbe, since: Duration) -> bool {
        let asked_at = probe.asked_at;
        let settled = asked_at.saturating_sub(probe.unchanged_since) >= SETTLED;
        let reached = probe
            .end
            .as_ref()
            .is_ok_and(|end| self.position >= *end || settled);
        self.caught_up && reached && asked_at >= since
    }

    fn apply(&mut self, news: TopicEvent) {
        match news {
            TopicEvent::CaughtUp => self.caught_up = true,
            TopicEvent::Record(record) => self.read(record),
        }
    }

    fn read(&mut self, record: TopicRecord) {
        if record.offset < self.position {
            // The topic has been made anew.
            self.by_name.clear();
        }
        self.position = record.offset + 1;
        if is_control(record.key.as_deref()) {
            return;
        }
        let Some(name) = record.key.and_then(|key| String::from_utf8(key).ok()) else {
            return;
        };
        match record.value {
            Some(value) => self.by_name.insert(name, value),
            None => self.by_name.remove(&name),
        };
    }
}

/// Keeps the records as a follower of the topic tells them, until it ends.
pub async fn keep(mut followed: Receiver<TopicEvent>, records: watch::Sender<Records>) {
    let mut batch = Vec::new();
    while followed.recv_many(&mut batch, BATCH).await > 0 {
        records.send_modify(|records| batch.drain(..).for_each(|news| records.apply(news)));
    }
}

/// Asks the brokers where the topic ends, twice a second, on a thread of its own, until
/// `stop`.
///
/// # Errors
/// If the client cannot be made or the thread not be started.
pub fn probe(
    config: &ClientConfig,
    topic: String,
    clock: Clock,
    records: watch::Sender<Records>,
    stop: CancellationToken,
) -> anyhow::Result<watch::Receiver<EndOffsetProbe>> {
    let client: BaseConsumer = config.create()?;
    let first = EndOffsetProbe {
        end: Err("the brokers have not been asked yet".to_owned()),
        asked_at: Duration::ZERO,
        unchanged_since: Duration::ZERO,
    };
    let (sender, receiver) = watch::channel(first);
    let ask = move || {
        while !stop.is_cancelled() && !sender.is_closed() {
            let position = records.borrow().position;
            let asked_at = clock.elapsed();
            let answer = watermarks(client.client(), &topic, 0, PROBE_TIMEOUT);
            if let Ok((_, end)) = answer
                && end < position
            {
                tracing::warn!(
                    topic,
                    "the topic has been made anew: its policies will be written again"
                );
                records.send_modify(|records| {
                    records.by_name.clear();
                    records.position = 0;
                });
            }
            let end = answer.map(|(_, end)| end).map_err(|error| {
                format!("{topic} cannot be read: {}; check that Kafka runs and that the topic exists (sundown topics create)", WithHint(&error))
            });
            sender.send_modify(|probe| {
                let unchanged = probe.end.is_ok() && probe.end == end;
                *probe = EndOffsetProbe {
                    unchanged_since: if unchanged {
                        probe.unchanged_since
                    } else {
                        asked_at
                    },
                    end,
                    asked_at,
                };
            });
            std::thread::sleep(PROBE_INTERVAL);
        }
    };
    std::thread::Builder::new()
        .name("policies-end".to_owned())
        .spawn(ask)?;
    Ok(receiver)
}

/// Writes policies.
pub struct PolicyWriter {
    producer: RecreatingProducer,
    topic: String,
}

impl PolicyWriter {
    /// A writer to `topic`, none of whose writes takes longer than `limit`: what has not
    /// been acknowledged by then is given up, and not sent again.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn new(mut config: ClientConfig, topic: String, limit: Duration) -> anyhow::Result<Self> {
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("message.timeout.ms", limit.as_millis().to_string())
            .set(
                "socket.timeout.ms",
                limit.as_millis().max(1_000).to_string(),
            );
        Ok(Self {
            producer: RecreatingProducer::new(config)?,
            topic,
        })
    }

    /// Writes a policy, or a tombstone where there is no value; its offset.
    ///
    /// # Errors
    /// Why the brokers have not acknowledged it.
    pub async fn write(&self, name: &str, value: Option<&str>) -> Result<i64, String> {
        let mut record = FutureRecord::<str, str>::to(&self.topic).key(name);
        if let Some(value) = value {
            record = record.payload(value);
        }
        let sent = self.producer.send(record, Duration::ZERO).await;
        sent.map(|delivery| delivery.offset).map_err(|error| {
            format!("{} cannot be written to: {}; check that Kafka runs and that this user may write to the topic", self.topic, WithHint(&error))
        })
    }
}
