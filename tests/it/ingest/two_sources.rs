//! Two source topics of different formats, in front of one group of trackers.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use sundown::clock::Clock;

use super::registry::{Registry, avro};
use super::{AccessLog, LIMITS, start_ingest};
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const PARTITIONS: i32 = 12;
const PAUSE: Duration = Duration::from_millis(500);
/// Rounds of activity while ingest is down: for twice the idle timeout.
const OUTAGE: i64 = 2 * LIMITS.idle / 500;
/// Users of each application who stay, and others who leave.
const USERS: u8 = 10;
const IDLE: u8 = 3;
/// Access logs have whole seconds.
const LOG_PRECISION: i64 = 1_000;

/// When a user was active: before and after the request was written, in milliseconds since 1970.
type Write = (i64, i64);

/// A website with an access log, and an application that writes Avro. Neither sets keys.
struct Applications<'a> {
    website: AccessLog<'a>,
    clicks: String,
    registry: Registry,
    rounds: u32,
    writes: BTreeMap<String, Vec<Write>>,
}

impl<'a> Applications<'a> {
    fn new(installation: &'a Installation<'a>) -> Self {
        let clicks = installation.topic("clicks");
        installation.kafka.create_topic(&clicks, PARTITIONS, &[]);
        let mut registry = Registry::new();
        registry.start();
        registry.register_clicks(1);
        Self {
            website: AccessLog::with_partitions(installation, PARTITIONS),
            clicks,
            registry,
            rounds: 0,
            writes: BTreeMap::new(),
        }
    }

    /// The sources of both, in a folder.
    fn sources(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::copy(self.website.path(), folder.path().join("website.yaml")).expect("a copy");
        let clicks = format!(
            "apiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: clicks}}\nspec:\n  topics: [{}]\n  format: avro\n  schemaRegistry: {{url: \"{}\"}}\n  session: {{id: value.session, user: value.user}}\n",
            self.clicks,
            self.registry.url()
        );
        fs::write(folder.path().join("clicks.yaml"), clicks).expect("it is written");
        folder
    }

    /// A request of each user who stays: on the website, in the application, and of some now here, now
    /// there.
    fn write_activity(&mut self) {
        let here = self.rounds.is_multiple_of(2);
        self.rounds += 1;
        let users = (0..USERS).flat_map(|number| {
            [("web", true), ("app", false), ("moving", here)]
                .map(|(kind, web)| (format!("{kind}-{number}"), web))
        });
        let users: Vec<_> = users.collect();
        self.write(&users);
    }

    /// A request of each user who leaves.
    fn write_idle(&mut self) {
        let users = (0..IDLE).flat_map(|number| {
            [("idle-web", true), ("idle-app", false)]
                .map(|(kind, web)| (format!("{kind}-{number}"), web))
        });
        let users: Vec<_> = users.collect();
        self.write(&users);
    }

    fn write(&mut self, users: &[(String, bool)]) {
        let before = now();
        let of = |website: bool| {
            let users = users.iter().filter(move |(_, web)| *web == website);
            users.map(|(session, _)| session.as_str())
        };
        self.website.write(&of(true).collect::<Vec<_>>());
        let clicks = of(false).map(|session| NewRecord {
            value: Some(avro(1, &[session, "ann"])),
            ..NewRecord::default()
        });
        self.website
            .installation
            .kafka
            .produce(&self.clicks, clicks);
        let after = now();
        for (session, _) in users {
            let writes = self.writes.entry(session.clone()).or_default();
            writes.push((before, after));
        }
    }

    /// Checks that no user has ended more often than they may have been idle by a time.
    fn check(&self, endings: &BTreeMap<String, usize>, until: i64) {
        for (session, endings) in endings {
            let breaks = self.breaks(session, until);
            assert!(*endings <= breaks, "{session}: {endings} of {breaks}");
        }
    }

    /// How often a user may have been idle by a time: on a busy machine, rounds take long.
    fn breaks(&self, session: &str, until: i64) -> usize {
        let writes = &self.writes[session];
        let next = writes[1..].iter().map(|(_, after)| *after);
        let pairs = writes.iter().zip(next.chain([i64::MAX]));
        let breaks = pairs.filter(|((before, _), next)| {
            (*next).min(until) - before + LOG_PRECISION >= LIMITS.idle
        });
        breaks.count()
    }

    /// The terminal events of each session.
    fn endings(&self) -> BTreeMap<String, usize> {
        let mut endings = BTreeMap::new();
        for ending in self.website.installation.endings() {
            *endings.entry(ending.session).or_default() += 1;
        }
        endings
    }
}

fn now() -> i64 {
    Clock::default().wall().as_millis()
}

fn leaves(session: &str) -> bool {
    session.starts_with("idle-")
}

#[test]
fn two_sources_whose_ingest_was_down_lose_no_active_user() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let mut applications = Applications::new(&installation);
    let sources = applications.sources();
    let args = ["--sources", sources.path().to_str().expect("UTF-8")];
    let ingests = [
        start_ingest(&installation, &args),
        start_ingest(&installation, &args),
    ];
    let trackers = [installation.tracker(&[]), installation.tracker(&[])];
    ingests.iter().for_each(RoleProcess::await_ready);
    trackers.iter().for_each(RoleProcess::await_ready);
    let all_users = 3 * USERS + 2 * IDLE;
    eventually(SOON, "the sessions", || {
        applications.write_activity();
        applications.write_idle();
        thread::sleep(PAUSE);
        let started = trackers
            .iter()
            .map(|tracker| tracker.metric("sundown_tracker_sessions_started_total", ""))
            .sum::<u64>();
        (started >= u64::from(all_users)).then_some(())
    });

    ingests.into_iter().for_each(RoleProcess::stop);
    let stopped = now();
    for _ in 0..OUTAGE {
        applications.write_activity();
        thread::sleep(PAUSE);
    }
    // Nothing proves that a user is idle.
    applications.check(&applications.endings(), stopped);

    let ingest = start_ingest(&installation, &args);
    let ended = eventually(SOON, "the ends of all who are idle", || {
        applications.write_activity();
        thread::sleep(PAUSE);
        let endings = applications.endings();
        let left = endings.keys().filter(|session| leaves(session)).count();
        (left >= usize::from(2 * IDLE)).then_some(endings)
    });
    applications.check(&ended, now());

    // The others leave.
    let ended = eventually(SOON, "the ends of the others", || {
        let endings = applications.endings();
        (endings.len() >= usize::from(all_users)).then_some(endings)
    });
    applications.check(&ended, i64::MAX);
    ingest.stop();
    trackers.into_iter().for_each(RoleProcess::stop);
}
