//! Past events of many sessions, and the endings that they must result in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use uuid::Uuid;

use crate::support::installation::Installation;

pub const EVENTS_PER_SESSION: u64 = 6;
/// Of the history's sessions.
pub const TIMEOUTS: Timeouts = Timeouts {
    idle: Duration::from_secs(300),
    absolute: Duration::from_secs(12 * 3_600),
};
/// Of sessions that are to stay.
pub const LONG_TIMEOUTS: Timeouts = Timeouts {
    idle: Duration::from_secs(12 * 3_600),
    absolute: Duration::from_secs(24 * 3_600),
};
const ALLOWED_LATENESS: Duration = Duration::from_secs(5);
/// The past begins so long ago.
const AGO: Duration = Duration::from_secs(24 * 3_600);
/// So many sessions start a second.
const STARTS_A_SECOND: u64 = 500;
/// Long after the last event.
const LONG_AFTER: i64 = 4 * 3_600_000;
/// One in so many sessions pauses for longer than the timeout; as many log out.
const ONE_IN: u32 = 10;
/// Ids of sessions that only carry the time forward; what becomes of them is not compared.
pub const LAST: &str = "last-";

/// What ends a session.
#[derive(Clone, Copy)]
pub struct Timeouts {
    pub idle: Duration,
    pub absolute: Duration,
}

impl Timeouts {
    /// Idle, absolute and lateness as the arguments of the Kafka Streams program.
    pub fn milliseconds(self) -> [String; 3] {
        [self.idle, self.absolute, ALLOWED_LATENESS].map(|time| time.as_millis().to_string())
    }
}

/// Times are milliseconds since 1970.
struct Event {
    time: i64,
    session: usize,
    logout: bool,
}

/// An ending as it is compared: session, reason, started, last active, ended.
pub type Ending = (String, String, i64, i64, i64);

/// In the order of time.
pub struct History {
    ids: Vec<String>,
    events: Vec<Event>,
    endings: Vec<Ending>,
}

impl History {
    /// The same in every run, but for when it happened.
    pub fn new(sessions: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut history = Self {
            ids: Vec::new(),
            events: Vec::new(),
            endings: Vec::new(),
        };
        let begin = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - AGO);
        let rush = i64::try_from(sessions * 1_000 / STARTS_A_SECOND)
            .unwrap()
            .max(1);
        for _ in 0..sessions {
            let start = begin + random.random_range(0..rush);
            history.add_session(start, &mut random);
        }
        history.events.sort_by_key(|event| event.time);
        history.endings.sort();
        history
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// The expected endings, sorted.
    pub fn endings(&self) -> &[Ending] {
        &self.endings
    }

    fn add_session(&mut self, start: i64, random: &mut ChaCha8Rng) {
        let id = Uuid::from_u128(random.random()).to_string();
        let session = self.ids.len();
        let pauses_before = random
            .random_ratio(1, ONE_IN)
            .then_some(EVENTS_PER_SESSION / 2);
        let logs_out = random.random_ratio(1, ONE_IN);
        let mut time = start;
        let (mut started, mut last) = (time, time);
        for number in 0..EVENTS_PER_SESSION {
            if number > 0 {
                let idle = millis(TIMEOUTS.idle);
                last = time;
                if pauses_before == Some(number) {
                    time += idle + random.random_range(0..idle);
                    self.end(&id, "idle_timeout", started, last, last + idle);
                    started = time;
                } else {
                    time += random.random_range(1_000..idle);
                }
            }
            let logout = logs_out && number == EVENTS_PER_SESSION - 1;
            self.events.push(Event {
                time,
                session,
                logout,
            });
        }
        if logs_out {
            // Leaving is no activity.
            self.end(&id, "logout", started, last, time);
        } else {
            self.end(
                &id,
                "idle_timeout",
                started,
                time,
                time + millis(TIMEOUTS.idle),
            );
        }
        self.ids.push(id);
    }

    fn end(&mut self, id: &str, reason: &str, started: i64, last: i64, ended: i64) {
        let ending = (id.to_owned(), reason.to_owned(), started, last, ended);
        self.endings.push(ending);
    }

    /// Writes the events with their own times, and then for each partition something that
    /// happened long after.
    pub fn write(&self, installation: &Installation<'_>) {
        let producer: BaseProducer = installation
            .kafka
            .client()
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .create()
            .unwrap();
        let topic = installation.topic("session_logs");
        for event in &self.events {
            send(&producer, &topic, &self.ids[event.session], event);
        }
        let last = self.events.last().map_or(0, |event| event.time);
        for number in 0..100 {
            let after = Event {
                time: last + LONG_AFTER,
                session: number,
                logout: true,
            };
            send(&producer, &topic, &format!("{LAST}{number}"), &after);
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }
}

fn send(producer: &BaseProducer, topic: &str, id: &str, event: &Event) {
    let kind = if event.logout { "logout" } else { "activity" };
    let value = format!(
        r#"{{"user_id":{},"session_id":"{id}","activity_timestamp":{},"event":"{kind}"}}"#,
        event.session, event.time
    );
    let mut record = BaseRecord::to(topic)
        .key(id)
        .payload(&value)
        .timestamp(event.time);
    while let Err((error, unsent)) = producer.send(record) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        assert!(error == full, "{error}");
        producer.poll(Duration::from_millis(10));
        record = unsent;
    }
    producer.poll(Duration::ZERO);
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap()
}
