//! Time from the kill of a process until its sessions end again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::PARTITIONS;
use super::competitor::Competitor;
use super::history::LONG_TIMEOUTS;
use crate::measure::endings::Endings;
use crate::measure::stop;
use crate::support::installation::Installation;
use crate::support::process::Process;

const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(180);
const EVERY: Duration = Duration::from_millis(100);

/// Two processes share the partitions; `first` is killed. From there until logouts written
/// after that have led to endings on every partition.
pub fn measure(
    installation: &Installation<'_>,
    competitor: &Competitor<'_>,
    first: Process,
) -> Duration {
    let ended = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&ended);
    let endings = Endings::follow_topic(
        installation,
        &competitor.target(),
        PARTITIONS,
        move |key, _| {
            let key = String::from_utf8_lossy(key);
            if let Some((series, partition)) = key.strip_prefix("probe-").and_then(probe) {
                seen.lock().unwrap().insert((series, partition));
            }
        },
    );
    let logouts = Logouts::new(installation);
    let second = competitor.start("other", LONG_TIMEOUTS, 1);
    logouts.until_all_end(0, &ended);
    drop(first);
    let begun = Instant::now();
    logouts.until_all_end(1, &ended);
    let takeover = begun.elapsed();
    drop(endings);
    stop(second);
    takeover
}

/// Series and partition of `SERIES-PARTITION-NUMBER`.
fn probe(key: &str) -> Option<(u64, u64)> {
    let mut parts = key.split('-');
    let mut number = || parts.next()?.parse().ok();
    Some((number()?, number()?))
}

struct Logouts {
    producer: BaseProducer,
    topic: String,
}

impl Logouts {
    fn new(installation: &Installation<'_>) -> Self {
        let producer = installation
            .kafka
            .client()
            .set("linger.ms", "0")
            .create()
            .unwrap();
        Self {
            producer,
            topic: installation.topic("session_logs"),
        }
    }

    /// Writes one to each partition again and again.
    fn until_all_end(&self, series: u64, ended: &Mutex<HashSet<(u64, u64)>>) {
        let begun = Instant::now();
        let all = |ended: &HashSet<_>| (0..PARTITIONS).all(|at| ended.contains(&(series, at)));
        for number in 0_u64.. {
            if all(&ended.lock().unwrap()) {
                break;
            }
            assert!(
                begun.elapsed() < TAKEOVER_TIMEOUT,
                "not every partition ends sessions"
            );
            for partition in 0..PARTITIONS {
                self.write(&format!("probe-{series}-{partition}-{number}"), partition);
            }
            self.producer.flush(TAKEOVER_TIMEOUT).unwrap();
            std::thread::sleep(EVERY);
        }
    }

    fn write(&self, id: &str, partition: u64) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let value = format!(
            r#"{{"user_id":1,"session_id":"{id}","activity_timestamp":{now},"event":"logout"}}"#
        );
        let record = BaseRecord::to(&self.topic)
            .partition(i32::try_from(partition).unwrap())
            .key(id)
            .payload(&value);
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .unwrap();
    }
}
