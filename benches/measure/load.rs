//! Session events with a chosen distribution over partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sundown::wire::partitioner::murmur2_partition;
use uuid::Uuid;

use crate::support::installation::Installation;

/// Sessions of the flood.
const CHATTY: usize = 20_000;
/// Events are written in steps of this length.
const STEP: Duration = Duration::from_millis(10);

/// One event for each of many sessions, at a steady rate.
pub struct Load(Running);

/// Activity of some sessions of one partition, as fast as it can be written.
pub struct Flood(Running);

struct Running {
    stop: Arc<AtomicBool>,
    /// How many events it has written.
    writer: JoinHandle<u64>,
}

struct Writer {
    producer: BaseProducer,
    topic: String,
    partitions: i32,
    hot: i32,
}

impl Load {
    /// `rate` events a second, `hot_percent` of them on the partition `hot` and the others on
    /// the others; on all of them evenly if that is 0.
    pub fn start(
        installation: &Installation<'_>,
        partitions: u64,
        hot: i32,
        rate: u64,
        hot_percent: u64,
    ) -> Self {
        let writer = Writer::new(installation, partitions, hot);
        Self(Running::start(move |stop| {
            let (begun, mut written) = (Instant::now(), 0);
            while !stop.load(Ordering::Relaxed) {
                let millis = u64::try_from(begun.elapsed().as_millis()).unwrap();
                let due = millis * rate / 1_000;
                for number in written..due {
                    let id = match hot_percent {
                        0 => Uuid::new_v4().to_string(),
                        percent => writer.id(number % 100 < percent),
                    };
                    writer.write(&id);
                }
                written = due;
                writer.producer.poll(STEP);
            }
            writer.producer.flush(Duration::from_secs(60)).unwrap();
            written
        }))
    }

    pub fn stop(self) -> u64 {
        self.0.stop()
    }
}

impl Flood {
    pub fn start(installation: &Installation<'_>, partitions: u64, hot: i32) -> Self {
        let writer = Writer::new(installation, partitions, hot);
        Self(Running::start(move |stop| {
            let ids: Vec<String> = (0..CHATTY).map(|_| writer.id(true)).collect();
            let mut written = 0;
            for id in ids.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                writer.write(id);
                written += 1;
            }
            writer.producer.flush(Duration::from_secs(60)).unwrap();
            written
        }))
    }

    pub fn stop(self) -> u64 {
        self.0.stop()
    }
}

impl Running {
    fn start(work: impl FnOnce(&AtomicBool) -> u64 + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || work(&stopped));
        Self { stop, writer }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap()
    }
}

impl Writer {
    fn new(installation: &Installation<'_>, partitions: u64, hot: i32) -> Self {
        let producer = installation
            .kafka
            .client()
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .create()
            .unwrap();
        Self {
            producer,
            topic: installation.topic("session_logs"),
            partitions: i32::try_from(partitions).unwrap(),
            hot,
        }
    }

    /// An id of the hot partition, or of any other.
    fn id(&self, hot: bool) -> String {
        loop {
            let id = Uuid::new_v4().to_string();
            let partition = murmur2_partition(Some(id.as_bytes()), self.partitions);
            if (partition == Some(self.hot)) == hot {
                return id;
            }
        }
    }

    fn write(&self, id: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let event = format!(
            r#"{{"user_id":1,"session_id":"{id}","activity_timestamp":{}}}"#,
            now.as_millis()
        );
        let mut record = BaseRecord::to(&self.topic).key(id).payload(&event);
        // While the queue is full, the brokers are the ones who set the pace.
        while let Err((error, refused)) = self.producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full);
            self.producer.poll(STEP);
            record = refused;
        }
    }
}
