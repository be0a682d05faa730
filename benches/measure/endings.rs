//! Reads `expired_sessions` and the time at which its records become readable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::support::installation::Installation;

/// Reads the topic, from its present end on, until it is dropped.
pub struct Endings {
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Endings {
    /// Calls `seen` with the key and the value of each record as soon as it is readable.
    pub fn follow(
        installation: &Installation<'_>,
        partitions: u64,
        seen: impl FnMut(&[u8], &[u8]) + Send + 'static,
    ) -> Self {
        let topic = installation.topic("expired_sessions");
        Self::follow_topic(installation, &topic, partitions, seen)
    }

    /// The same for another topic.
    pub fn follow_topic(
        installation: &Installation<'_>,
        topic: &str,
        partitions: u64,
        mut seen: impl FnMut(&[u8], &[u8]) + Send + 'static,
    ) -> Self {
        let consumer: BaseConsumer = installation
            .kafka
            .client()
            .set("group.id", installation.topic("endings"))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.queue.backoff.ms", "10")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap();
            let (_, end) = consumer
                .fetch_watermarks(topic, partition, Duration::from_secs(10))
                .unwrap();
            all.add_partition_offset(topic, partition, Offset::Offset(end))
                .unwrap();
        }
        consumer.assign(&all).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                    match record {
                        Ok(record) => seen(record.key().unwrap(), record.payload().unwrap()),
                        // The consumer recovers by itself; the count shows missing records.
                        Err(error) => eprintln!("reading endings: {error}"),
                    }
                }
            }
        });
        Self {
            stop,
            reader: Some(reader),
        }
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // A panic of the thread has been printed.
            _ = reader.join();
        }
    }
}

/// A count that others wait for.
#[derive(Clone, Default)]
pub struct Count(Arc<Mutex<(u64, Option<Instant>)>>);

impl Count {
    pub fn add_one(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        state.1 = Some(Instant::now());
    }

    /// Waits for so many; when the last came.
    pub fn await_at_least(&self, count: u64, timeout: Duration) -> Instant {
        let begun = Instant::now();
        loop {
            let (seen, at) = *self.0.lock().unwrap();
            if let Some(at) = at
                && seen >= count
            {
                return at;
            }
            let quiet = at.unwrap_or(begun).max(begun).elapsed();
            assert!(
                quiet < timeout,
                "{seen} of {count}, and nothing for {quiet:?}"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The value that a share of the others does not exceed, in milliseconds; `-` without any values.
pub fn quantile_ms(sorted: &[Duration], share: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into the list"
    )]
    let index = (sorted.len() as f64 * share) as usize;
    let value = sorted.get(index).or(sorted.last());
    value.map_or("-".to_owned(), |value| value.as_millis().to_string())
}
