//! Continuous logouts, and the time until their endings are readable.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::endings::quantile_ms;
use crate::support::installation::Installation;

/// A session is logged out so often.
const EVERY: Duration = Duration::from_millis(50);
/// Without progress for so long, something has stopped.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(120);

/// Logs sessions out until it is stopped.
pub struct Logouts {
    seen: Seen,
    stop: Arc<AtomicBool>,
    writer: JoinHandle<()>,
}

/// What has become of the logouts.
#[derive(Clone, Default)]
pub struct Seen {
    sent: Arc<Mutex<HashMap<Vec<u8>, Instant>>>,
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl Logouts {
    /// The caller reports their endings to `seen` from now on.
    pub fn start(installation: &Installation<'_>, seen: Seen) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = installation.kafka.client();
        let topic = installation.session_logs();
        let (sent, stopped) = (seen.clone(), Arc::clone(&stop));
        let writer = std::thread::spawn(move || write(client, &topic, &sent, &stopped));
        Self { seen, stop, writer }
    }

    /// Waits for the endings of all of them; p50, p99 and the longest.
    pub fn finish(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap();
        let begun = Instant::now();
        while !self.seen.sent.lock().unwrap().is_empty() {
            assert!(
                begun.elapsed() < PROGRESS_TIMEOUT,
                "logouts without endings"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut waits = std::mem::take(&mut *self.seen.waits.lock().unwrap());
        waits.sort_unstable();
        let of = |share| quantile_ms(&waits, share);
        format!(
            "{} / {} / {} ms ({} logouts)",
            of(0.5),
            of(0.99),
            of(1.0),
            waits.len()
        )
    }
}

impl Seen {
    /// The ending of the session `key` is readable; whether it is one of these.
    pub fn ended(&self, key: &[u8]) -> bool {
        let sent = self.sent.lock().unwrap().remove(key);
        self.waits
            .lock()
            .unwrap()
            .extend(sent.map(|at| at.elapsed()));
        sent.is_some()
    }
}

fn write(mut client: ClientConfig, topic: &str, seen: &Seen, stop: &AtomicBool) {
    let producer: BaseProducer = client
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()
        .unwrap();
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("other-{}-{number}", run.as_millis());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let event = format!(
            r#"{{"user_id":{number},"session_id":"{id}","activity_timestamp":{},"event":"logout"}}"#,
            now.as_millis()
        );
        let sent = (id.clone().into_bytes(), Instant::now());
        seen.sent.lock().unwrap().extend([sent]);
        let record = BaseRecord::to(topic).key(&id).payload(&event);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
        std::thread::sleep(EVERY);
    }
    producer.flush(PROGRESS_TIMEOUT).unwrap();
}
