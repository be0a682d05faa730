//! Synthetic users within seconds: they click, pause, log in again, log out, are logged out, leave
//! and return to a session that has ended. Some of their events arrive out of order.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sundown::clock::Clock;
use sundown::wire::forwarded::Forwarded;

use super::model::Limits;
use super::topic::NewRecord;
use super::wait::Deadline;
use super::writer::Writer;

/// How often events are written.
const BEAT: Duration = Duration::from_millis(50);
/// Devices of one user, so that a logout of all sessions ends several.
const DEVICES_PER_USER: usize = 3;

/// Users. The seed determines the users; the times of their events depend on the clock.
pub struct Population {
    rng: ChaCha8Rng,
    limits: Limits,
    partitions: i32,
    clock: Clock,
    devices: Vec<Device>,
    /// Sessions that were left without a logout, and when.
    abandoned: Vec<(i64, String)>,
}

/// One session after the other.
struct Device {
    user: Value,
    session: String,
    started: bool,
    /// Of its last event, which none may go far before.
    last_at: i64,
    next_at: i64,
}

impl Population {
    pub fn new(seed: u64, devices: usize, partitions: i32, limits: Limits) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let clock = Clock::default();
        let now = clock.wall().as_millis();
        let devices = (0..devices).map(|number| Device {
            user: user(number / DEVICES_PER_USER),
            session: session_id(&mut rng),
            started: false,
            last_at: now,
            next_at: now + rng.random_range(0..limits.idle),
        });
        Self {
            devices: devices.collect(),
            rng,
            limits,
            partitions,
            clock,
            abandoned: Vec::new(),
        }
    }

    /// Has the users act for `duration`, in real time, and writes their events to `topic`.
    pub fn act(&mut self, duration: Duration, writer: &Writer, topic: &str) {
        let end = Deadline::after(duration);
        while end.left().is_some() {
            writer.write(topic, self.events());
            std::thread::sleep(BEAT);
        }
    }

    /// What has happened since the last call.
    pub fn events(&mut self) -> Vec<NewRecord> {
        let now = self.clock.wall().as_millis();
        let mut events = Vec::new();
        for number in 0..self.devices.len() {
            if self.devices[number].next_at <= now {
                self.event(number, now, &mut events);
            }
        }
        events
    }

    fn event(&mut self, number: usize, now: i64, events: &mut Vec<NewRecord>) {
        let (idle, lateness) = (self.limits.idle, self.limits.lateness);
        let soon = now + self.rng.random_range(50..idle / 3);
        let at = self.event_time(number, now);
        let fresh = session_id(&mut self.rng);
        let draw = self.rng.random_range(0..100);
        let device = &mut self.devices[number];
        device.last_at = device.last_at.max(at);
        device.next_at = soon;
        let kind = match draw {
            _ if !device.started => "login",
            0..70 => "activity",
            70..75 => "login",
            // Away for so long that the session ends; then back to it.
            75..82 => {
                device.next_at = now + idle + lateness + self.rng.random_range(0..idle);
                "activity"
            }
            82..90 => "logout",
            90..94 => "revoke",
            // A logout that is too late, or of an unknown session.
            94..96 => {
                let forgotten = self.forgotten(now).unwrap_or(fresh);
                let user = self.devices[number].user.clone();
                events.push(self.record(&forgotten, &user, now, "logout"));
                return;
            }
            96 => {
                let user = device.user.clone();
                events.extend(self.everywhere(&user, at));
                return;
            }
            _ => {
                let left = std::mem::replace(&mut device.session, fresh);
                device.started = false;
                self.abandoned.push((now, left));
                return;
            }
        };
        device.started = true;
        let (session, user) = (device.session.clone(), device.user.clone());
        if kind == "logout" || kind == "revoke" {
            device.session = fresh;
            device.started = false;
        }
        events.push(self.record(&session, &user, at, kind));
    }

    /// Mostly now; sometimes it has been on its way for a while.
    fn event_time(&mut self, number: usize, now: i64) -> i64 {
        if self.devices[number].started && self.rng.random_ratio(1, 6) {
            now - self.rng.random_range(1..self.limits.lateness / 2)
        } else {
            now
        }
    }

    /// A session that was left so long ago that it is over.
    fn forgotten(&mut self, now: i64) -> Option<String> {
        let over = now - self.limits.idle - 2 * self.limits.lateness;
        let number = self.abandoned.iter().position(|(left, _)| *left < over)?;
        Some(self.abandoned.swap_remove(number).1)
    }

    fn record(&mut self, session: &str, user: &Value, at: i64, kind: &str) -> NewRecord {
        let mut event = json!({"user_id": user, "session_id": session, "activity_timestamp": at});
        if kind != "activity" || self.rng.random() {
            event["event"] = kind.into();
        }
        if self.rng.random_ratio(1, 10) {
            let client = ["web", "mobile"][self.rng.random_range(0..2)];
            event["attributes"] = json!({"client": client, "tenant": "acme"});
        }
        NewRecord::new(session, event.to_string())
    }

    /// A user's logout from everything, to all partitions.
    fn everywhere(&self, user: &Value, at: i64) -> impl Iterator<Item = NewRecord> + use<> {
        let event = json!({"user_id": user, "activity_timestamp": at, "event": "logout"});
        let key = Forwarded::copies(self.partitions).encode();
        (0..self.partitions).map(move |partition| NewRecord {
            partition: Some(partition),
            ..NewRecord::new(key.as_slice(), event.to_string())
        })
    }
}

/// Numbers and strings, among them a number's digits as a string: another user.
fn user(number: usize) -> Value {
    match number % 3 {
        0 => json!(1000 + number),
        1 => json!(format!("{}", 1000 + number - 1)),
        _ => json!(format!("user-{number}@example.org")),
    }
}

/// UUIDs mostly, and ids that are shorter and longer.
fn session_id(rng: &mut impl Rng) -> String {
    let id = uuid::Uuid::from_u128(rng.random());
    match rng.random_range(0..4) {
        0 => id.simple().to_string()[..12].to_owned(),
        1 => format!("session:{}:{}", id.simple(), "x".repeat(30)),
        _ => id.to_string(),
    }
}
