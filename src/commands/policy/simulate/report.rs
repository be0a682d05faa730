//! What a simulation comes to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::output::table;
use crate::session::{EndReason, Ending, Timestamp};
use crate::wire::end_reason::EndReasonFormat;
use crate::wire::terminal::user_literal;
use crate::wire::time;

/// What a simulation comes to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The moment at which it stops, RFC 3339.
    pub(super) until: String,
    /// Events replayed.
    pub(super) events: u64,
    /// Records that are no session events.
    pub(super) unusable: u64,
    /// Under the policies that were tried out.
    pub(super) simulated: Side,
    /// Under the current ones.
    pub(super) current: Side,
    /// Sessions that end at another time, for another reason, or in one of the two alone.
    pub(super) different: u64,
    /// The first of them.
    pub(super) differences: Vec<Difference>,
    /// How many of them are kept.
    #[serde(skip)]
    pub(super) limit: usize,
}

/// What happens under one set of policies.
#[derive(Debug, Default, Serialize)]
pub(super) struct Side {
    /// Sessions started.
    pub(super) sessions: u64,
    /// Sessions ended, by why and under which policy.
    #[serde(serialize_with = "list")]
    pub(super) ended: BTreeMap<(EndReason, String), u64>,
    /// Sessions that live in the end.
    pub(super) live: u64,
    /// Events dropped because their session would have been over already.
    pub(super) late_events: u64,
    /// Events dropped for being beyond --max-sessions.
    pub(super) refused_events: u64,
}

/// A session that ends differently.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    session_id: String,
    user_id: Option<Box<RawValue>>,
    simulated: Fate,
    current: Fate,
    /// When it ends, or first ends.
    #[serde(skip)]
    pub(super) at: Timestamp,
}

/// How a session fares under one set of policies.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Fate {
    /// It is over.
    Ended {
        /// Since when, RFC 3339.
        ended_at: String,
        /// Why.
        #[serde(with = "EndReasonFormat")]
        reason: EndReason,
        /// By which policy.
        policy: String,
    },
    /// It lives in the end.
    Live,
    /// There is no such session: what it consists of belongs to one that began earlier.
    None,
}

impl Report {
    pub(super) fn new(until: Timestamp, limit: usize) -> Self {
        Self {
            until: time::format(until),
            events: 0,
            unusable: 0,
            simulated: Side::default(),
            current: Side::default(),
            different: 0,
            differences: Vec::new(),
            limit,
        }
    }
}

impl Side {
    pub(super) fn ended(&mut self, ending: &Ending) {
        let key = (ending.reason, ending.policy.name.clone());
        *self.ended.entry(key).or_default() += 1;
    }
}

impl Difference {
    pub(super) fn new(ending: &Ending, simulated: Fate, current: Fate) -> Self {
        Self {
            at: ending.ended_at,
            session_id: ending.session.to_string(),
            user_id: ending.user.as_ref().and_then(user_literal),
            simulated,
            current,
        }
    }
}

impl Fate {
    pub(super) fn of(ending: &Ending) -> Self {
        Self::Ended {
            ended_at: time::format(ending.ended_at),
            reason: ending.reason,
            policy: ending.policy.name.clone(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Ended {
                ended_at,
                reason,
                policy,
            } => format!("{ended_at} {} ({policy})", reason.as_str()),
            Self::Live => "still live".to_owned(),
            Self::None => "part of an earlier session".to_owned(),
        }
    }
}

fn list<S: serde::Serializer>(
    ended: &BTreeMap<(EndReason, String), u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(with = "EndReasonFormat")]
        reason: EndReason,
        policy: &'a str,
        sessions: u64,
    }
    serializer.collect_seq(ended.iter().map(|((reason, policy), sessions)| Line {
        reason: *reason,
        policy,
        sessions: *sessions,
    }))
}

/// The report for people.
pub(super) fn human(report: &Report) -> String {
    let mut parts = vec![summary(report), totals(report)];
    if !report.simulated.ended.is_empty() || !report.current.ended.is_empty() {
        parts.push(endings(report));
    }
    if report.different > 0 {
        parts.push(differences(report));
    }
    parts.join("\n\n")
}

fn summary(report: &Report) -> String {
    let mut text = format!("{} events until {}", report.events, report.until);
    match report.unusable {
        0 => {}
        1 => text += "; 1 record is no session event",
        several => text += &format!("; {several} records are no session events"),
    }
    text
}

fn totals(report: &Report) -> String {
    let row = |name: &str, count: fn(&Side) -> u64| {
        let [simulated, current] = [&report.simulated, &report.current].map(count);
        [name.to_owned(), simulated.to_string(), current.to_string()]
    };
    let mut rows = vec![
        row("started", |side| side.sessions),
        row("ended", |side| side.ended.values().sum()),
        row("still live", |side| side.live),
    ];
    for (name, count) in [
        ("late events", (|side| side.late_events) as fn(&Side) -> u64),
        ("refused events", |side| side.refused_events),
    ] {
        if count(&report.simulated) + count(&report.current) > 0 {
            rows.push(row(name, count));
        }
    }
    table(["SESSIONS", "SIMULATED", "CURRENT"], &rows)
}

fn endings(report: &Report) -> String {
    let (simulated, current) = (&report.simulated.ended, &report.current.ended);
    let keys: BTreeSet<_> = simulated.keys().chain(current.keys()).collect();
    let rows: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let count = |ended: &BTreeMap<_, u64>| ended.get(key).copied().unwrap_or_default();
            [
                key.0.as_str().to_owned(),
                key.1.clone(),
                count(simulated).to_string(),
                count(current).to_string(),
            ]
        })
        .collect();
    table(["REASON", "POLICY", "SIMULATED", "CURRENT"], &rows)
}

fn differences(report: &Report) -> String {
    let shown = report.differences.len() as u64;
    let heading = match report.different {
        1 => "1 session ends differently".to_owned(),
        several => format!("{several} sessions end differently"),
    };
    if shown == 0 {
        return heading;
    }
    let more = if shown < report.different {
        format!("; the first {shown} (--limit)")
    } else {
        String::new()
    };
    let rows: Vec<_> = report
        .differences
        .iter()
        .map(|difference| {
            [
                difference.session_id.clone(),
                difference.simulated.text(),
                difference.current.text(),
            ]
        })
        .collect();
    let table = table(["SESSION", "SIMULATED", "CURRENT"], &rows);
    format!("{heading}{more}:\n{table}")
}
