//! Producers in Python that distribute events each in its own way, while partitions are added and trackers
//! are killed.

use std::path::Path;
use std::thread;
use std::time::Duration;

use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::process::{Launch, Process, Stream};
use crate::support::role::RoleProcess;
use crate::third_party::{PIP_INSTALL, prepare};

/// The idle timeout is longer than a tracker takes to take over from a killed one, as
/// docs/decisions/forwarding.md requires.
const LIMITS: Limits = Limits {
    idle: 30_000,
    absolute: None,
    lateness: 3_000,
};
const SESSIONS: u32 = 1_000;
/// How long a session is away, of three times as long.
const AWAY_SECONDS: u32 = 45;
const KILL_INTERVAL: Duration = Duration::from_secs(20);
/// How long the producers write.
const SECONDS: u32 = 150;
/// Environment variable for another number of seconds.
const SECONDS_VARIABLE: &str = "SUNDOWN_TEST_PRODUCERS_SECONDS";

#[test]
fn any_producers_share_sessions_while_partitions_are_added_and_trackers_killed() {
    let Some(python) = prepare("examples/producers/python", &PIP_INSTALL) else {
        eprintln!("SKIPPED: pip is not installed or fetches nothing; no producers in Python");
        return;
    };
    let seconds = std::env::var(SECONDS_VARIABLE);
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let mut trackers: Vec<_> = (0..3).map(|_| installation.tracker(&[])).collect();
    trackers.iter().for_each(RoleProcess::await_ready);

    let start = Clock::default().wall().as_millis();
    let mut producers = ["default", "keyless", "murmur2"].map(|distribution| {
        let (packages, seed) = (python.join("packages"), distribution.len());
        let numbers = format!("{SESSIONS} {start} {seconds} {AWAY_SECONDS} {seed}");
        start_producer(&installation, &packages, distribution, &numbers)
    });
    let third = i64::from(seconds) * 1_000 / 3;
    let mut growths = vec![(2 * third, 4 * PARTITIONS), (third, 2 * PARTITIONS)];
    while producers.iter_mut().any(|one| one.ended().is_none()) {
        thread::sleep(KILL_INTERVAL);
        let passed = Clock::default().wall().as_millis() - start;
        while let Some((_, partitions)) = growths.pop_if(|(at, _)| *at <= passed) {
            installation.run(&["topics", "grow", "--partitions", &partitions.to_string()]);
        }
        trackers.remove(0).kill();
        trackers.push(installation.tracker(&[]));
    }
    assert!(growths.is_empty(), "all partitions were added");
    for producer in &mut producers {
        let status = producer.wait(SOON);
        assert!(status.success(), "{}", producer.text(Stream::Stderr));
    }

    let expected = installation.verify();
    let certain = expected.certain(expected.endings.clone()).len();
    assert!(
        certain * 10 >= expected.endings.len() * 9,
        "{certain} of {} endings are certain",
        expected.endings.len()
    );
    trackers.into_iter().for_each(RoleProcess::stop);
    expected.compare(installation.endings());
}

fn start_producer(
    installation: &Installation<'_>,
    packages: &Path,
    distribution: &str,
    numbers: &str,
) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/pipeline/python_producers/activity.py");
    Launch::program("python3")
        .env("PYTHONPATH", packages)
        .arg(script)
        .args([installation.kafka.bootstrap(), &installation.session_logs()])
        .arg(distribution)
        .args(numbers.split(' '))
        .start()
}
