//! What is going on, told in lines. Pure: whoever watches says what they saw and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::processes::{ProcessReport, ProcessState};
use crate::session::{EventKind, Timestamp};
use crate::wire::terminal::{EndReason, SessionEnded};
use crate::wire::time;

/// How many endings are told one by one between two status lines.
const TOLD: u32 = 8;
/// How much of a session's id is shown, in characters.
const SHORT: usize = 8;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Scene {
    events: u64,
    started: u64,
    live: BTreeSet<String>,
    ended: BTreeMap<&'static str, u64>,
    /// What each live tracker last said of its partitions.
    trackers: BTreeMap<String, String>,
    told: u32,
}

impl Scene {
    /// A session event was written.
    pub(super) fn event(&mut self, session: &str, kind: EventKind) {
        self.events += 1;
        let begins = matches!(kind, EventKind::Activity | EventKind::Login);
        if begins && !self.live.contains(session) {
            self.started += 1;
            self.live.insert(session.to_owned());
        }
    }

    /// A terminal event was written; a line about it, unless there were too many.
    pub(super) fn ended(&mut self, ended: &SessionEnded) -> Option<String> {
        self.live.remove(&ended.session_id);
        *self.ended.entry(ended.reason.as_str()).or_default() += 1;
        self.told += 1;
        (self.told <= TOLD).then(|| {
            let session: String = ended.session_id.chars().take(SHORT).collect();
            let user = ended.user_id.as_ref().map_or("unknown", |user| user.get());
            format!("session {session}… of user {user} ended: {}", why(ended))
        })
    }

    /// A process reported; a line about it if it is a tracker whose partitions changed.
    pub(super) fn report(&mut self, report: &ProcessReport) -> Option<String> {
        if report.role != "tracker" {
            return None;
        }
        if report.state == ProcessState::Stopped {
            let gone = self.trackers.remove(&report.id);
            return gone.map(|_| format!("{} left", report.id));
        }
        let owned = partitions(report);
        let before = self.trackers.insert(report.id.clone(), owned.clone());
        (before.as_ref() != Some(&owned)).then(|| format!("{} {owned}", report.id))
    }

    /// Where things stand.
    pub(super) fn status(&mut self) -> String {
        self.told = 0;
        format!(
            "{} events; {} sessions started, {} live, {}",
            self.events,
            self.started,
            self.live.len(),
            self.endings()
        )
    }

    /// What it all came to.
    pub(super) fn summary(&self, elapsed: Duration) -> String {
        format!(
            "after {:.1} s: {} events of {} sessions, {}, {} still live",
            elapsed.as_secs_f64(),
            self.events,
            self.started,
            self.endings(),
            self.live.len()
        )
    }

    /// `5 ended (3 idle_timeout, 2 logout)`
    fn endings(&self) -> String {
        let total: u64 = self.ended.values().sum();
        let mut text = format!("{total} ended");
        let reasons = self
            .ended
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"));
        let reasons: Vec<_> = reasons.collect();
        if !reasons.is_empty() {
            // Strings take everything.
            let _infallible = write!(text, " ({})", reasons.join(", "));
        }
        text
    }
}

fn why(ended: &SessionEnded) -> String {
    let reason = ended.reason.as_str();
    let parse = |at: &Option<String>| at.as_deref().and_then(time::parse);
    let end = time::parse(&ended.ended_at).unwrap_or_default();
    let since = |start: Timestamp| {
        let millis = end.since(start).as_millis();
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    };
    match (
        ended.reason,
        parse(&ended.started_at),
        parse(&ended.last_activity),
    ) {
        (EndReason::IdleTimeout, _, Some(last)) => {
            format!("{reason}, {} after its last activity", since(last))
        }
        (_, Some(start), _) => format!("{reason}, {} after its start", since(start)),
        _ => reason.to_owned(),
    }
}

/// `has partitions 0, 2 (reading its state: 2)`
fn partitions(report: &ProcessReport) -> String {
    let numbers = |restoring_only: bool| {
        let all = report.assignments.iter();
        let mut chosen: Vec<_> = all
            .filter(|assignment| assignment.restoring || !restoring_only)
            .map(|assignment| assignment.partition)
            .collect();
        chosen.sort_unstable();
        let chosen: Vec<_> = chosen.iter().map(ToString::to_string).collect();
        chosen.join(", ")
    };
    match (numbers(false), numbers(true)) {
        (all, _) if all.is_empty() => "has no partitions".to_owned(),
        (all, restoring) if restoring.is_empty() => format!("has partitions {all}"),
        (all, restoring) => format!("has partitions {all} (reading its state: {restoring})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ended(session: &str, reason: &str, user: &Value) -> SessionEnded {
        serde_json::from_value(json!({
            "event_id": "00000000-0000-0000-0000-000000000000",
            "session_id": session,
            "user_id": user,
            "reason": reason,
            "policy": {"name": "built-in", "generation": 0},
            "started_at": "2025-02-07T12:00:00Z",
            "last_activity": "2025-02-07T12:00:10Z",
            "ended_at": "2025-02-07T12:00:18.250Z",
            "detected_at": "2025-02-07T12:00:20Z",
        }))
        .unwrap()
    }

    fn report(role: &str, state: &str, partitions: &[(i32, bool)]) -> ProcessReport {
        let assignments = partitions.iter().map(|(partition, restoring)| {
            json!({
                "topic": "session_logs", "partition": partition, "restoring": restoring,
                "position": null, "end": null, "watermark": null, "sessions": 0,
            })
        });
        serde_json::from_value(json!({
            "v": 1, "id": "it", "role": role, "version": "0", "host": "here", "pid": 1,
            "started_at": "", "reported_at": "", "state": state, "not_ready": {},
            "assignments": assignments.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    #[test]
    fn sessions_are_counted_from_their_start_to_their_end() {
        let mut scene = Scene::default();
        scene.event("a", EventKind::Login);
        scene.event("a", EventKind::Activity);
        scene.event("b", EventKind::Activity);
        scene.event("unknown", EventKind::Logout);
        assert_eq!(
            scene.status(),
            "4 events; 2 sessions started, 2 live, 0 ended"
        );
        scene.ended(&ended("a", "idle_timeout", &json!(1)));
        scene.ended(&ended("unknown", "logout", &json!(2)));
        // The same id again is a new session.
        scene.event("a", EventKind::Activity);
        assert_eq!(
            scene.summary(Duration::from_millis(1_500)),
            "after 1.5 s: 5 events of 3 sessions, 2 ended (1 idle_timeout, 1 logout), 2 still live"
        );
    }

    #[test]
    fn an_ending_says_why() {
        let mut scene = Scene::default();
        for (reason, user, line) in [
            (
                "idle_timeout",
                json!(7),
                "of user 7 ended: idle_timeout, 8.2 s after its last activity",
            ),
            (
                "absolute_timeout",
                json!("joe"),
                "of user \"joe\" ended: absolute_timeout, 18.2 s after its start",
            ),
            (
                "revoked",
                Value::Null,
                "of user unknown ended: revoked, 18.2 s after its start",
            ),
        ] {
            let ended = ended("0123456789", reason, &user);
            assert_eq!(
                scene.ended(&ended),
                Some(format!("session 01234567… {line}"))
            );
        }
    }

    #[test]
    fn too_many_endings_are_only_counted_until_the_next_status() {
        let mut scene = Scene::default();
        let tell = |scene: &mut Scene| scene.ended(&ended("a", "logout", &json!(1))).is_some();
        let told: u32 = (0..2 * TOLD).map(|_| u32::from(tell(&mut scene))).sum();
        assert_eq!(told, TOLD);
        assert!(scene.status().contains(&format!("{} ended", 2 * TOLD)));
        assert!(tell(&mut scene));
    }

    #[test]
    fn partitions_are_told_when_they_change() {
        let mut scene = Scene::default();
        let mut see = |role, state, partitions| scene.report(&report(role, state, partitions));
        let told = |text: &str| Some(format!("it {text}"));
        assert_eq!(see("handler", "running", &[]), None);
        assert_eq!(see("tracker", "running", &[]), told("has no partitions"));
        let reading = told("has partitions 0, 2 (reading its state: 2)");
        assert_eq!(see("tracker", "running", &[(2, true), (0, false)]), reading);
        assert_eq!(see("tracker", "running", &[(0, false), (2, true)]), None);
        let all = told("has partitions 0, 2");
        assert_eq!(see("tracker", "running", &[(0, false), (2, false)]), all);
        assert_eq!(see("tracker", "stopped", &[]), told("left"));
        assert_eq!(see("tracker", "stopped", &[]), None);
    }
}
