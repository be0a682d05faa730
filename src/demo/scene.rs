//! What is going on, told in lines. Pure: whoever watches says what they saw and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::process_report::{ProcessReport, ProcessState};
use crate::session::{EventKind, Timestamp};
use crate::wire::ending::{EndReason, SessionEnded};
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
            let user = ended.user_id.as_ref().map_or("nobody", |user| user.get());
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
