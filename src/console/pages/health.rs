//! The partitions: who has each, and how far it has come.

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::View;
use crate::console::format;
use crate::console::live::State;
use crate::console::live::group_lag::GroupLag;
use crate::console::live::pauses;
use crate::console::state::AppState;
use crate::kafka::group_offsets::PartitionOffsets;
use crate::policy::pauses::MAX_REASON;
use crate::processes::Assignment;
use crate::session::Timestamp;
use crate::wire::time;

/// A watermark this far behind holds endings up noticeably.
const SLOW_MILLIS: i64 = 10_000;

/// Which partitions, in which order.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Order {
    /// `partition`, `lag`, `delay` or `sessions`.
    #[serde(default)]
    sort: String,
    /// `trouble`: only partitions that need a look.
    #[serde(default)]
    show: String,
}

/// The partitions.
#[derive(Template, Serialize)]
#[template(path = "console/health.html")]
pub struct Health {
    trouble: Option<String>,
    topic: String,
    /// Partitions of session events, in the order asked for.
    partitions: Vec<Partition>,
    /// All of them in order, for the overview.
    #[serde(skip)]
    overview: Vec<(i32, &'static str, String)>,
    /// How far the handlers are behind, per partition of terminal events.
    handlers: Option<Group>,
    /// What somebody has paused.
    pauses: Vec<pauses::Row>,
    #[serde(skip)]
    csrf: Option<String>,
    #[serde(skip)]
    can_log_in: bool,
    #[serde(skip)]
    sort: String,
    #[serde(skip)]
    only_trouble: bool,
}

/// A partition of session events.
#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    pub(super) partition: i32,
    pub(super) condition: &'static str,
    #[serde(skip)]
    severity: &'static str,
    owner: Option<String>,
    position: Option<i64>,
    committed: Option<i64>,
    end: Option<i64>,
    /// Records that its tracker has not read; without one, that its group has not.
    lag: Option<i64>,
    /// How far the watermark is behind.
    watermark_delay_millis: Option<i64>,
    sessions: usize,
}

/// A group's lag.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    group: String,
    topic: String,
    total: i64,
    partitions: Vec<HandlerPartition>,
}

/// A partition of terminal events.
#[derive(Clone, Debug, Serialize)]
pub struct HandlerPartition {
    partition: i32,
    condition: &'static str,
    #[serde(skip)]
    severity: &'static str,
    owner: Option<String>,
    /// How far its handler has read.
    position: Option<i64>,
    /// How far all is finished.
    committed: Option<i64>,
    end: Option<i64>,
    /// Offsets that are not finished.
    lag: i64,
}

impl View for Health {
    type Query = Order;
    const TITLE: &'static str = "Health";
    const PATH: &'static str = "/health";

    fn build(app: &AppState, state: &State, now: Timestamp, order: &Order) -> Self {
        let mut partitions = partitions(state, now);
        let overview = partitions.iter().map(|one| {
            let lag = one.lag.map_or_else(|| "unknown".to_owned(), format::count);
            let told = format!("Partition {}: {}, lag {lag}", one.partition, one.condition);
            (one.partition, one.severity, told)
        });
        let overview = overview.collect();
        let only_trouble = order.show == "trouble";
        if only_trouble {
            partitions.retain(|one| one.severity != "good");
        }
        match order.sort.as_str() {
            "lag" => partitions.sort_by_key(|one| std::cmp::Reverse(one.lag)),
            "delay" => partitions.sort_by_key(|one| std::cmp::Reverse(one.watermark_delay_millis)),
            "sessions" => partitions.sort_by_key(|one| std::cmp::Reverse(one.sessions)),
            _ => {}
        }
        Self {
            trouble: state.trouble.clone(),
            topic: app.topics.session_logs.clone(),
            partitions,
            overview,
            handlers: state.lags.get(1).map(|lag| group(lag, state, now)),
            pauses: pauses::rows(state, now),
            csrf: None,
            can_log_in: app.security.logins.is_some(),
            sort: order.sort.clone(),
            only_trouble,
        }
    }

    fn with_forms(self, csrf: Option<&str>) -> Self {
        Self {
            csrf: csrf.map(str::to_owned),
            ..self
        }
    }
}

/// All partitions as they are at `now`, in order.
pub(super) fn partitions(state: &State, now: Timestamp) -> Vec<Partition> {
    let mut owned: BTreeMap<i32, (&str, &Assignment)> = BTreeMap::new();
    for process in state.processes.trackers(now) {
        for assignment in &process.report.assignments {
            owned.insert(assignment.partition, (&process.report.id, assignment));
        }
    }
    let known: BTreeMap<i32, PartitionOffsets> = state
        .lags
        .first()
        .into_iter()
        .flat_map(|lag| &lag.partitions)
        .map(|lag| (lag.partition, *lag))
        .collect();
    let mut numbers: Vec<i32> = owned.keys().chain(known.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let numbers = numbers.into_iter();
    numbers
        .map(|number| {
            partition(
                number,
                owned.get(&number).copied(),
                known.get(&number).copied(),
                now,
            )
        })
        .collect()
}

fn partition(
    number: i32,
    owned: Option<(&str, &Assignment)>,
    lag: Option<PartitionOffsets>,
    now: Timestamp,
) -> Partition {
    let assignment = owned.map(|(_, assignment)| assignment);
    let watermark = assignment.and_then(|one| time::parse(one.watermark.as_deref()?));
    let delay = watermark.map(|at| (now.as_millis() - at.as_millis()).max(0));
    let (condition, severity) = match assignment {
        None => ("no tracker", "bad"),
        Some(one) if one.restoring => ("restoring", "warn"),
        Some(one) if one.paused => ("paused", "warn"),
        Some(_) if delay.is_none_or(|delay| delay > SLOW_MILLIS) => ("behind", "warn"),
        Some(_) => ("live", "good"),
    };
    let own_lag = assignment.and_then(|one| Some((one.end? - one.position?).max(0)));
    Partition {
        partition: number,
        condition,
        severity,
        owner: owned.map(|(owner, _)| owner.to_owned()),
        position: assignment.and_then(|one| one.position),
        committed: lag.and_then(|lag| lag.committed),
        end: lag
            .map(|lag| lag.end)
            .max(assignment.and_then(|one| one.end)),
        lag: own_lag.or_else(|| lag.and_then(PartitionOffsets::lag)),
        watermark_delay_millis: delay,
        sessions: assignment.map_or(0, |one| one.sessions),
    }
}

fn group(lag: &GroupLag, state: &State, now: Timestamp) -> Group {
    let mut owned: BTreeMap<i32, (&str, &Assignment)> = BTreeMap::new();
    let handlers = state.processes.present(now);
    for process in handlers.filter(|process| process.report.role == "handler") {
        let assignments = process.report.assignments.iter();
        for one in assignments.filter(|one| one.topic == lag.topic) {
            owned.insert(one.partition, (&process.report.id, one));
        }
    }
    Group {
        group: lag.group.clone(),
        topic: lag.topic.clone(),
        total: lag.uncommitted(),
        partitions: lag
            .partitions
            .iter()
            .map(|one| handler_partition(*one, owned.get(&one.partition).copied()))
            .collect(),
    }
}

fn handler_partition(
    known: PartitionOffsets,
    owned: Option<(&str, &Assignment)>,
) -> HandlerPartition {
    let lag = known.uncommitted();
    let (condition, severity) = match owned {
        None => ("no handler", "bad"),
        Some((_, one)) if one.paused => ("paused", "warn"),
        Some(_) if lag == 0 => ("drained", "good"),
        Some(_) => ("at work", "good"),
    };
    HandlerPartition {
        partition: known.partition,
        condition,
        severity,
        owner: owned.map(|(owner, _)| owner.to_owned()),
        position: owned.and_then(|(_, one)| one.position),
        committed: known.committed,
        end: Some(known.end),
        lag,
    }
}
