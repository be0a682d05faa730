//! The live processes and the generations of policies that they run, by their reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::kafka::topic_feed::{TopicEvent, TopicRecord};
use crate::processes::{ProcessReport, ProcessState, is_live};
use crate::session::Timestamp;
use crate::session_lookup::owners::TrackerEndpoint;

/// The most records applied in one batch.
const MAX_BATCH: usize = 1_000;
/// The age at which reports are removed.
const REPORT_RETENTION: Duration = Duration::from_secs(3_600);

/// The processes that have reported lately.
#[derive(Debug, Default)]
pub struct ProcessRegistry {
    reports: BTreeMap<String, ReceivedReport>,
    /// The latest broker timestamp of a report, and when the report arrived on the clock: the
    /// reference for the brokers' current time.
    latest: Option<(Timestamp, Duration)>,
}

#[derive(Debug)]
struct ReceivedReport {
    report: ProcessReport,
    at: Timestamp,
}

/// How far a generation of a policy or a source has been rolled out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Live processes that are to run it: trackers, or ingest processes.
    pub processes: usize,
    /// Those that run the generation.
    pub applied: usize,
    /// Live sessions under the policy, of any generation; 0 for a source.
    pub sessions: usize,
    /// A live process that does not run the generation yet, with the reason in its report, if there is one.
    pub waiting_for: Option<String>,
}

impl ProcessRegistry {
    /// Returns whether the process `own_id` has reported lately, at `now` on the clock. Only
    /// then is the brokers' time known, and reports of other processes would have arrived.
    #[must_use]
    pub fn is_current(&self, own_id: &str, now: Duration) -> bool {
        let brokers_now = self.brokers_now(now);
        let own = self.reports.get(own_id);
        own.is_some_and(|own| is_live(own.at, brokers_now))
    }

    /// Returns how far a generation of the policy `name` has been rolled out, at `now` on the
    /// clock.
    #[must_use]
    pub fn rollout(&self, name: &str, generation: u64, now: Duration) -> Rollout {
        let mut rollout = Rollout::default();
        for tracker in self.live("tracker", now) {
            rollout.processes += 1;
            let policy = tracker.policies.iter().find(|policy| policy.name == name);
            rollout.sessions += policy
                .and_then(|policy| policy.sessions)
                .unwrap_or_default();
            if policy.is_some_and(|policy| policy.generation == generation) {
                rollout.applied += 1;
            } else if rollout.waiting_for.is_none() {
                rollout.waiting_for = Some(tracker.id.clone());
            }
        }
        rollout
    }

    /// The live trackers with an admin port, at `now` on the clock.
    #[must_use]
    pub fn trackers(&self, now: Duration) -> Vec<TrackerEndpoint> {
        let trackers = self.live("tracker", now).filter_map(|report| {
            let partitions = report.assignments.iter().map(|one| one.partition);
            Some(TrackerEndpoint {
                id: report.id.clone(),
                admin: report.admin.clone()?,
                partitions: partitions.collect(),
            })
        });
        trackers.collect()
    }

    /// Consumer groups of actions on terminal events, `HANDLER_GROUP.ACTION`, as reported in the
    /// last hour. Groups of processes that have stopped are left out: their actions may have been
    /// removed.
    #[must_use]
    pub fn action_groups(&self, handler_group: &str) -> BTreeSet<String> {
        let reports = self.reports.values().map(|received| &received.report);
        let running = reports.filter(|report| report.state == ProcessState::Running);
        let actions = running.flat_map(|report| &report.actions);
        let groups = actions.filter(|one| {
            let suffix = one.group.strip_prefix(handler_group);
            one.trigger == "ending" && suffix.is_some_and(|suffix| suffix.starts_with('.'))
        });
        groups.map(|one| one.group.clone()).collect()
    }

    /// The topics that running ingest processes have reported to read in the last hour.
    #[must_use]
    pub fn source_topics(&self) -> BTreeSet<String> {
        let reports = self.reports.values().map(|received| &received.report);
        let running = reports.filter(|report| report.state == ProcessState::Running);
        let topics = running.flat_map(|report| &report.sources);
        topics.map(|one| one.topic.clone()).collect()
    }

    /// The reports of the live processes of a role, at `now` on the clock.
    pub(super) fn live(&self, role: &str, now: Duration) -> impl Iterator<Item = &ProcessReport> {
        let brokers_now = self.brokers_now(now);
        let processes = self.reports.values().filter(move |received| {
            received.report.role == role
                && received.report.state == ProcessState::Running
                && is_live(received.at, brokers_now)
        });
        processes.map(|received| &received.report)
    }

    /// The brokers' time at `now` on the clock.
    fn brokers_now(&self, now: Duration) -> Timestamp {
        self.latest.map_or(Timestamp::MIN, |(at, arrived)| {
            let elapsed = now.saturating_sub(arrived).as_millis();
            Timestamp::from_millis(at.as_millis() + i64::try_from(elapsed).unwrap_or_default())
        })
    }

    fn apply(&mut self, record: &TopicRecord, now: Duration) {
        let at = record.timestamp;
        if self.latest.is_none_or(|(latest, _)| latest <= at) {
            self.latest = Some((at, now));
        }
        let key = record.key.as_deref().map(String::from_utf8_lossy);
        let Some(id) = key else { return };
        let report = record.value.as_deref().map(serde_json::from_slice);
        match report {
            Some(Ok(report)) => {
                self.reports
                    .insert(id.into_owned(), ReceivedReport { report, at });
            }
            None => {
                self.reports.remove(id.as_ref());
            }
            // Written by an unknown release.
            Some(Err(error)) => tracing::debug!(%error, "ignored a process report"),
        }
    }

    fn remove_expired(&mut self) {
        let Some((latest, _)) = self.latest else {
            return;
        };
        let retention = i64::try_from(REPORT_RETENTION.as_millis()).unwrap_or(i64::MAX);
        self.reports
            .retain(|_, received| latest.since(received.at).as_millis() < retention);
    }
}

/// Applies the process reports of a feed until it ends.
pub async fn update(
    mut feed: Receiver<TopicEvent>,
    trackers: watch::Sender<ProcessRegistry>,
    clock: Clock,
) {
    let mut batch = Vec::new();
    while feed.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let now = clock.elapsed();
        trackers.send_modify(|trackers| {
            for event in batch.drain(..) {
                if let TopicEvent::Record(record) = event {
                    trackers.apply(&record, now);
                }
            }
            trackers.remove_expired();
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

    fn handler(id: &str, state: &str, group: &str, trigger: &str) -> TopicRecord {
        let mut record = record(id, 100, 1, state);
        let mut report: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        report["role"] = "handler".into();
        report["actions"] = json!([{
            "action": "a", "trigger": trigger, "group": group, "partitions": 1, "backlog": 7,
        }]);
        record.value = Some(report.to_string().into_bytes());
        record
    }

    #[test]
    fn the_groups_of_actions_are_those_that_running_handlers_report() {
        let mut processes = ProcessRegistry::default();
        for report in [
            handler("a", "running", "p.handler.revoke", "ending"),
            handler("b", "running", "p.handler.notify", "ending"),
            handler("c", "running", "p.handler-warnings.mail", "warning"),
            handler("d", "running", "p.handler-2.other", "ending"),
            handler("e", "stopped", "p.handler.removed", "ending"),
        ] {
            processes.apply(&report, Duration::ZERO);
        }
        let groups = processes.action_groups("p.handler");
        let expected = ["p.handler.notify", "p.handler.revoke"].map(str::to_owned);
        assert_eq!(groups, expected.into());
    }

    #[test]
    fn only_running_trackers_with_a_recent_report_count() {
        let mut trackers = ProcessRegistry::default();
        let now = Duration::from_secs(1);
        trackers.apply(&record("stale", 98, 2, "running"), now);
        trackers.apply(&record("behind", 105, 1, "running"), now);
        trackers.apply(&record("stopped", 106, 2, "stopped"), now);
        trackers.apply(&record("a", 109, 2, "running"), now);
        let rollout = trackers.rollout("ns/p", 2, now);
        let expected = Rollout {
            processes: 2,
            applied: 1,
            sessions: 10,
            waiting_for: Some("behind".to_owned()),
        };
        assert_eq!(rollout, expected);
        let later = trackers.rollout("ns/p", 2, Duration::from_secs(8));
        assert_eq!((later.processes, later.applied), (1, 1));
        let much_later = trackers.rollout("ns/p", 2, Duration::from_secs(20));
        assert_eq!(much_later, Rollout::default());
    }
}
