//! What applications write: users who click, pause for about as long as a session lasts, log in and out,
//! and are logged out by others. Each event takes its own way to one of two producers, half of them
//! twice.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::model::Limits;
use crate::support::topic::NewRecord;

const USERS: usize = 30;
const DEVICES_PER_USER: usize = 2;
const TENANTS: usize = 6;

/// A record and when to send it, in epoch milliseconds.
pub struct Sending {
    pub at: i64,
    pub record: NewRecord,
}

pub struct History {
    rng: ChaCha8Rng,
    start: i64,
    end: i64,
    limits: Limits,
    displacement: i64,
    partitions: i32,
    /// What each producer sends, in order.
    pub producers: [Vec<Sending>; 2],
}

/// Where a user is logged in.
struct Device {
    user: usize,
    session: String,
}

impl History {
    /// The seed determines everything but the times, which count from `start`.
    pub fn new(
        seed: u64,
        start: i64,
        span: Duration,
        limits: Limits,
        displacement: i64,
        partitions: i32,
    ) -> Self {
        let mut history = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            start,
            end: start + i64::try_from(span.as_millis()).expect("a minute"),
            limits,
            displacement,
            partitions,
            producers: [Vec::new(), Vec::new()],
        };
        history.end_many();
        for user in 0..USERS {
            history.act_as(user);
        }
        for sendings in &mut history.producers {
            sendings.sort_by_key(|sending| sending.at);
        }
        history
    }

    /// The devices of a user, who logs out everywhere once, perhaps except on the last of them.
    fn act_as(&mut self, user: usize) {
        let many_ends = self.many_ends();
        let close = 2 * self.limits.lateness;
        let from_all = loop {
            let at = self.rng.random_range(self.start..self.end);
            if many_ends.iter().all(|end| (at - end).abs() > close) {
                break at;
            }
        };
        let [first, second, third] = many_ends;
        let mut session = String::new();
        for _ in 0..DEVICES_PER_USER {
            session = self.act(user, [first, second, third, from_all]);
        }
        let mut event = json!({
            "user_id": user_id(user), "activity_timestamp": from_all, "event": "logout",
        });
        if self.rng.random() {
            event["except_session_id"] = session.into();
        }
        self.send_everywhere(from_all, &event);
    }

    /// The life of a device. Of two ends within the lateness, the first that is read counts: it has no
    /// end of its own close to those of many sessions. Returns its session at the last of these.
    fn act(&mut self, user: usize, many_ends: [i64; 4]) -> String {
        let session = self.session_id();
        let mut at_last_end = session.clone();
        let mut device = Device { user, session };
        let mut at = self.start + self.rng.random_range(0..self.limits.idle);
        let mut next = "login";
        let mut is_over = false;
        while at < self.end {
            let close = 2 * self.limits.lateness;
            let mut ends = ["logout", "revoke", "rotated"].contains(&next);
            if ends && many_ends.iter().any(|end| (at - end).abs() <= close) {
                (next, ends) = ("activity", false);
            }
            self.event(&device, at, next);
            if at < many_ends[3] {
                at_last_end.clone_from(&device.session);
            }
            is_over = next != "login" && (is_over || ends);
            at += self.rng.random_range(50..1_500);
            next = match self.rng.random_range(0..100) {
                // Traffic under way, or a login under the same id, or another session.
                0..30 if is_over => "activity",
                30..60 if is_over => "login",
                _ if is_over => {
                    device.session = self.session_id();
                    "login"
                }
                0..72 => "activity",
                72..80 => "login",
                // Away for about as long as the session lasts; then active, or the application notices.
                80..88 => {
                    let lateness = self.limits.lateness;
                    at += self.limits.idle + self.rng.random_range(-lateness..lateness);
                    ["activity", "login", "logout"][self.rng.random_range(0..3)]
                }
                88..93 => "logout",
                93..96 => "revoke",
                _ => "rotated",
            };
        }
        at_last_end
    }

    fn event(&mut self, device: &Device, at: i64, kind: &str) {
        let event = json!({
            "user_id": user_id(device.user),
            "session_id": device.session,
            "activity_timestamp": at,
            "event": kind,
            "attributes": {"tenant": tenant(device.user)},
        });
        self.send(
            at,
            &NewRecord::new(device.session.as_str(), event.to_string()),
        );
    }

    /// When administrators end the sessions of a tenant, of another one, and all.
    fn many_ends(&self) -> [i64; 3] {
        [3, 5, 7].map(|part| self.start + (self.end - self.start) * part / 10)
    }

    fn end_many(&mut self) {
        let matched = [
            json!({"attributes": {"tenant": tenant(1)}}),
            json!({"attributes": {"tenant": tenant(2)}}),
            json!({}),
        ];
        for (at, matched) in self.many_ends().into_iter().zip(matched) {
            let event = json!({"match": matched, "activity_timestamp": at, "event": "revoke"});
            self.send_everywhere(at, &event);
        }
    }

    fn send_everywhere(&mut self, at: i64, event: &Value) {
        for partition in 0..self.partitions {
            let record = NewRecord {
                partition: Some(partition),
                ..NewRecord::new("many", event.to_string())
            };
            self.send(at, &record);
        }
    }

    fn send(&mut self, at: i64, record: &NewRecord) {
        for _ in 0..self.rng.random_range(1..=2) {
            let sending = Sending {
                at: at + self.rng.random_range(0..=self.displacement),
                record: record.clone(),
            };
            self.producers[self.rng.random_range(0..2)].push(sending);
        }
    }

    fn session_id(&mut self) -> String {
        Uuid::from_u128(self.rng.random()).to_string()
    }
}

fn user_id(user: usize) -> Value {
    match user % 2 {
        0 => json!(user),
        _ => json!(format!("user-{user}")),
    }
}

fn tenant(user: usize) -> String {
    format!("tenant-{}", user % TENANTS)
}
