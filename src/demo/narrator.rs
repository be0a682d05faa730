//! Counts observed events and describes them in lines of text. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::processes::{ProcessReport, ProcessState};
use crate::session::{EndReason, EventKind, Timestamp};
use crate::wire::terminal::SessionEnded;
use crate::wire::time;

/// The maximum number of endings to describe between two status lines.
const MAX_DESCRIBED: u32 = 8;
/// The length of a shortened session id, in characters.
const SHORT_ID_LENGTH: usize = 8;

/// The totals of all observed events.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    events: u64,
    started: u64,
    live: BTreeSet<String>,
    ended: BTreeMap<&'static str, u64>,
    /// The description of each tracker's partitions.
    trackers: BTreeMap<String, String>,
    described: u32,
}

impl Narrator {
    /// Counts a session event.
    pub(super) fn event(&mut self, session: &str, kind: EventKind) {
        self.events += 1;
        let starts_session = matches!(kind, EventKind::Activity | EventKind::Login);
        if starts_session && !self.live.contains(session) {
            self.started += 1;
            self.live.insert(session.to_owned());
        }
    }

    /// Counts a terminal event; describes it unless [`MAX_DESCRIBED`] is reached.
    pub(super) fn ended(&mut self, ended: &SessionEnded) -> Option<String> {
        self.live.remove(&ended.session_id);
        *self.ended.entry(ended.reason.as_str()).or_default() += 1;
        self.described += 1;
        (self.described <= MAX_DESCRIBED).then(|| {
            let session: String = ended.session_id.chars().take(SHORT_ID_LENGTH).collect();
            let user = ended.user_id.as_ref().map_or("unknown", |user| user.get());
            format!(
                "session {session}… of user {user} ended: {}",
                describe_end(ended)
            )
        })
    }

    /// Describes a process report if the partitions of a tracker changed.
    pub(super) fn report(&mut self, report: &ProcessReport) -> Option<String> {
        if report.role != "tracker" {
            return None;
        }
        if report.state == ProcessState::Stopped {
            let removed = self.trackers.remove(&report.id);
            return removed.map(|_| format!("{} stopped", report.id));
        }
        let current = describe_partitions(report);
        let previous = self.trackers.insert(report.id.clone(), current.clone());
        (previous.as_ref() != Some(&current)).then(|| format!("{} {current}", report.id))
    }

    /// Returns a status line.
    pub(super) fn status(&mut self) -> String {
        self.described = 0;
        format!(
            "{} events; {} sessions started, {} live, {}",
            self.events,
            self.started,
            self.live.len(),
            self.endings()
        )
    }

    /// Returns the summary at the end of the demo.
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
            // Writing to a string cannot fail.
            let _infallible = write!(text, " ({})", reasons.join(", "));
        }
        text
    }
}

fn describe_end(ended: &SessionEnded) -> String {
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

/// `has partitions 0, 2 (restoring: 2)`
fn describe_partitions(report: &ProcessReport) -> String {
    let numbers = |restoring_only: bool| {
        let all = report.assignments.iter();
        let mut numbers: Vec<_> = all
            .filter(|assignment| assignment.restoring || !restoring_only)
            .map(|assignment| assignment.partition)
            .collect();
        numbers.sort_unstable();
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        numbers.join(", ")
    };
    match (numbers(false), numbers(true)) {
        (all, _) if all.is_empty() => "has no partitions".to_owned(),
        (all, restoring) if restoring.is_empty() => format!("has partitions {all}"),
        (all, restoring) => format!("has partitions {all} (restoring: {restoring})"),
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
        let mut narrator = Narrator::default();
        narrator.event("a", EventKind::Login);
        narrator.event("a", EventKind::Activity);
        narrator.event("b", EventKind::Activity);
        narrator.event("unknown", EventKind::Logout);
        assert_eq!(
            narrator.status(),
            "4 events; 2 sessions started, 2 live, 0 ended"
        );
        narrator.ended(&ended("a", "idle_timeout", &json!(1)));
        narrator.ended(&ended("unknown", "logout", &json!(2)));
        // The same id again is a new session.
        narrator.event("a", EventKind::Activity);
        assert_eq!(
            narrator.summary(Duration::from_millis(1_500)),
            "after 1.5 s: 5 events of 3 sessions, 2 ended (1 idle_timeout, 1 logout), 2 still live"
        );
    }

    #[test]
    fn an_ending_is_described_with_its_reason() {
        let mut narrator = Narrator::default();
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
                narrator.ended(&ended),
                Some(format!("session 01234567… {line}"))
            );
        }
    }

    #[test]
    fn endings_beyond_the_limit_are_only_counted_until_the_next_status() {
        let mut narrator = Narrator::default();
        let describe =
            |narrator: &mut Narrator| narrator.ended(&ended("a", "logout", &json!(1))).is_some();
        let described: u32 = (0..2 * MAX_DESCRIBED)
            .map(|_| u32::from(describe(&mut narrator)))
            .sum();
        assert_eq!(described, MAX_DESCRIBED);
        assert!(
            narrator
                .status()
                .contains(&format!("{} ended", 2 * MAX_DESCRIBED))
        );
        assert!(describe(&mut narrator));
    }

    #[test]
    fn partitions_are_described_when_they_change() {
        let mut narrator = Narrator::default();
        let mut report_line =
            |role, state, partitions| narrator.report(&report(role, state, partitions));
        let line = |text: &str| Some(format!("it {text}"));
        assert_eq!(report_line("handler", "running", &[]), None);
        assert_eq!(
            report_line("tracker", "running", &[]),
            line("has no partitions")
        );
        let restoring = line("has partitions 0, 2 (restoring: 2)");
        assert_eq!(
            report_line("tracker", "running", &[(2, true), (0, false)]),
            restoring
        );
        assert_eq!(
            report_line("tracker", "running", &[(0, false), (2, true)]),
            None
        );
        let all = line("has partitions 0, 2");
        assert_eq!(
            report_line("tracker", "running", &[(0, false), (2, false)]),
            all
        );
        assert_eq!(report_line("tracker", "stopped", &[]), line("stopped"));
        assert_eq!(report_line("tracker", "stopped", &[]), None);
    }
}
