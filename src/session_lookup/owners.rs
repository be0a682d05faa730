//! Trackers and their partitions, from process reports.

use std::collections::{BTreeMap, BTreeSet};

use crate::processes::{ProcessReport, ProcessState};
use crate::session::Timestamp;

/// A tracker with an admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerEndpoint {
    /// The id of its process.
    pub id: String,
    /// Its admin port, `HOST:PORT`.
    pub admin: String,
    /// The partitions that it owns.
    pub partitions: BTreeSet<i32>,
}

/// The running trackers among processes with the times of their reports. A partition that two
/// of them claim belongs to the one with the later report.
#[must_use]
pub fn trackers<'a>(
    reports: impl Iterator<Item = (&'a ProcessReport, Timestamp)>,
) -> Vec<TrackerEndpoint> {
    let running = reports
        .filter(|(report, _)| report.role == "tracker" && report.state == ProcessState::Running);
    let mut running: Vec<_> = running.collect();
    running.sort_by_key(|(report, at)| (*at, report.id.as_str()));
    let claims = running.iter().flat_map(|(report, _)| {
        let partitions = report.assignments.iter().map(|one| one.partition);
        partitions.map(|partition| (partition, report.id.as_str()))
    });
    let owners: BTreeMap<i32, &str> = claims.collect();
    let trackers = running.iter().filter_map(|(report, _)| {
        let owned = owners.iter().filter(|(_, owner)| **owner == report.id);
        Some(TrackerEndpoint {
            id: report.id.clone(),
            admin: report.admin.clone()?,
            partitions: owned.map(|(partition, _)| *partition).collect(),
        })
    });
    trackers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(id: &str, role: &str, state: &str, partitions: &[i32]) -> ProcessReport {
        let assignments: Vec<_> = partitions
            .iter()
            .map(|partition| {
                json!({
                    "topic": "session_logs", "partition": partition, "restoring": false,
                    "position": null, "end": null, "watermark": null, "sessions": 0,
                })
            })
            .collect();
        serde_json::from_value(json!({
            "v": 1, "id": id, "role": role, "version": "0", "host": "h", "pid": 1,
            "started_at": "", "reported_at": "", "state": state, "not_ready": {},
            "assignments": assignments, "admin": format!("{id}:1"),
        }))
        .unwrap()
    }

    #[test]
    fn the_later_claim_owns_the_partition() {
        let reports = [
            report("new", "tracker", "running", &[1, 2]),
            report("old", "tracker", "running", &[0, 1]),
            report("over", "tracker", "stopped", &[3]),
            report("handler", "handler", "running", &[0]),
        ];
        let times = [20, 10, 30, 40].map(Timestamp::from_millis);
        let found = trackers(reports.iter().zip(times));
        let owned: Vec<_> = found
            .iter()
            .map(|one| (one.id.as_str(), one.partitions.iter().copied().collect()))
            .collect::<Vec<(&str, Vec<i32>)>>();
        assert_eq!(owned, [("old", vec![0]), ("new", vec![1, 2])]);
    }
}
