//! The trackers that run, and what they go by, as their process reports tell.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::kafka::topic_feed::{TopicEvent, TopicRecord};
use crate::processes::{ProcessReport, ProcessState, is_live};
use crate::session::Timestamp;

/// The most records taken in at once.
const BATCH: usize = 1_000;
/// Reports of processes that are gone are forgotten after this long.
const FORGET: Duration = Duration::from_secs(3_600);

/// The processes that have reported.
#[derive(Debug, Default)]
pub struct TrackerRegistry {
    reports: BTreeMap<String, Seen>,
    /// The latest time that a broker has put on a report, and when that arrived on the
    /// clock: what the brokers' clock shows can be told from it.
    latest: Option<(Timestamp, Duration)>,
}

#[derive(Debug)]
struct Seen {
    report: ProcessReport,
    at: Timestamp,
}

/// How far a policy has come among the trackers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Live trackers.
    pub trackers: usize,
    /// Those of them that run the generation asked about.
    pub applied: usize,
    /// Live sessions under the policy, whichever generation.
    pub sessions: usize,
    /// One of those that do not run it yet.
    pub waiting_for: Option<String>,
}

impl TrackerRegistry {
    /// Whether `own_id` has reported lately, by `now` on the clock: only then is it known
    /// what the brokers' clock shows, and that others' reports would have come too.
    #[must_use]
    pub fn knows(&self, own_id: &str, now: Duration) -> bool {
        let brokers_now = self.brokers_now(now);
        let own = self.reports.get(own_id);
        own.is_some_and(|seen| is_live(seen.at, brokers_now))
    }

    /// How far generation `generation` of the policy `name` has come, at `now` on the clock.
    #[must_use]
    pub fn spread(&self, name: &str, generation: u64, now: Duration) -> Rollout {
        let mut spread = Rollout::default();
        for tracker in self.live_trackers(now) {
            spread.trackers += 1;
            let policy = tracker.policies.iter().find(|policy| policy.name == name);
            spread.sessions += policy
                .and_then(|policy| policy.sessions)
                .unwrap_or_default();
            if policy.is_some_and(|policy| policy.generation == generation) {
                spread.applied += 1;
            } else if spread.waiting_for.is_none() {
                spread.waiting_for = Some(tracker.id.clone());
            }
        }
        spread
    }

    fn live_trackers(&self, now: Duration) -> impl Iterator<Item = &ProcessReport> {
        let brokers_now = self.brokers_now(now);
        let trackers = self.reports.values().filter(move |seen| {
            seen.report.role == "tracker"
                && seen.report.state == ProcessState::Running
                && is_live(seen.at, brokers_now)
        });
        trackers.map(|seen| &seen.report)
    }

    /// What the brokers' clock shows at `now` on this machine's.
    fn brokers_now(&self, now: Duration) -> Timestamp {
        self.latest.map_or(Timestamp::MIN, |(at, arrived)| {
            let passed = now.saturating_sub(arrived).as_millis();
            Timestamp::from_millis(at.as_millis() + i64::try_from(passed).unwrap_or_default())
        })
    }

    fn read(&mut self, record: &TopicRecord, now: Duration) {
        let at = record.timestamp;
        if self.latest.is_none_or(|(latest, _)| latest <= at) {
            self.latest = Some((at, now));
        }
        let key = record.key.as_deref().map(String::from_utf8_lossy);
        let Some(id) = key else { return };
        let report = record.value.as_deref().map(serde_json::from_slice);
        match report {
            Some(Ok(report)) => {
                self.reports.insert(id.into_owned(), Seen { report, at });
            }
            None => {
                self.reports.remove(id.as_ref());
            }
            // Of a release that this one does not know.
            Some(Err(error)) => tracing::debug!(%error, "a process report cannot be read"),
        }
    }

    fn forget(&mut self) {
        let Some((latest, _)) = self.latest else {
            return;
        };
        let forget = i64::try_from(FORGET.as_millis()).unwrap_or(i64::MAX);
        self.reports
            .retain(|_, seen| latest.since(seen.at).as_millis() < forget);
    }
}

/// Keeps the trackers as a follower of the process reports tells it, until it ends.
pub async fn keep(
    mut followed: Receiver<TopicEvent>,
    trackers: watch::Sender<TrackerRegistry>,
    clock: Clock,
) {
    let mut batch = Vec::new();
    while followed.recv_many(&mut batch, BATCH).await > 0 {
        let now = clock.elapsed();
        trackers.send_modify(|trackers| {
            for news in batch.drain(..) {
                if let TopicEvent::Record(record) = news {
                    trackers.read(&record, now);
                }
            }
            trackers.forget();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::TimestampKind;
    use serde_json::json;

    fn record(id: &str, seconds: i64, generation: u64, state: &str) -> TopicRecord {
        let report = json!({
            "v": 1, "id": id, "role": "tracker", "version": "0", "host": "h", "pid": 1,
            "started_at": "", "reported_at": "", "state": state, "not_ready": {}, "assignments": [],
            "policies": [{"name": "ns/p", "generation": generation, "sessions": 5}],
        });
        TopicRecord {
            partition: 0,
            offset: 0,
            timestamp: Timestamp::from_millis(seconds * 1_000),
            timestamp_kind: TimestampKind::LogAppendTime,
            key: Some(id.as_bytes().to_vec()),
            value: Some(report.to_string().into_bytes()),
        }
    }

    #[test]
    fn trackers_count_that_have_reported_lately_and_run() {
        let mut trackers = TrackerRegistry::default();
        let now = Duration::from_secs(1);
        trackers.read(&record("stale", 98, 2, "running"), now);
        trackers.read(&record("behind", 105, 1, "running"), now);
        trackers.read(&record("stopped", 106, 2, "stopped"), now);
        trackers.read(&record("a", 109, 2, "running"), now);
        let spread = trackers.spread("ns/p", 2, now);
        let expected = Rollout {
            trackers: 2,
            applied: 1,
            sessions: 10,
            waiting_for: Some("behind".to_owned()),
        };
        assert_eq!(spread, expected);
        let later = trackers.spread("ns/p", 2, Duration::from_secs(8));
        assert_eq!((later.trackers, later.applied), (1, 1));
        let much_later = trackers.spread("ns/p", 2, Duration::from_secs(20));
        assert_eq!(much_later, Rollout::default());
    }
}
