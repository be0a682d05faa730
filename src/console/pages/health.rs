//! Health of the partitions: owner, progress and lag of each.

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::Page;
use super::menu::{HEALTH, PageInfo};
use crate::console::format;
use crate::console::live::LiveState;
use crate::console::live::actions::{ActionRow, action_rows};
use crate::console::live::group_lag::GroupLag;
use crate::console::live::pauses::{PauseRow, pause_rows};
use crate::console::state::AppState;
use crate::kafka::group_offsets::PartitionOffsets;
use crate::policy::pauses::MAX_REASON;
use crate::processes::Assignment;
use crate::session::Timestamp;
use crate::wire::time;

/// Watermark delay beyond which a partition counts as behind, in milliseconds.
const MAX_WATERMARK_DELAY_MILLIS: i64 = 10_000;

/// The parameters of the page.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct HealthParams {
    /// `partition`, `lag`, `delay` or `sessions`.
    #[serde(default)]
    sort: String,
    /// `unhealthy` for the partitions that are not live.
    #[serde(default)]
    show: String,
}

#[derive(Template, Serialize)]
#[template(path = "console/health.html")]
pub struct HealthPage {
    kafka_error: Option<String>,
    topic: String,
    /// Partitions of session events in the requested order.
    partitions: Vec<TrackerPartition>,
    /// Number, severity and summary of all partitions.
    #[serde(skip)]
    overview: Vec<(i32, &'static str, String)>,
    /// Partitions of terminal events; `None` until the brokers have responded.
    handlers: Option<HandlerGroup>,
    /// Actions of the handlers, those that are furthest behind first.
    actions: Vec<ActionRow>,
    /// Partitions paused by operators.
    pauses: Vec<PauseRow>,
    #[serde(skip)]
    csrf: Option<String>,
    #[serde(skip)]
    can_log_in: bool,
    #[serde(skip)]
    sort: String,
    #[serde(skip)]
    only_unhealthy: bool,
}

/// A partition of session events.
#[derive(Clone, Debug, Serialize)]
pub struct TrackerPartition {
    pub(super) partition: i32,
    pub(super) condition: &'static str,
    #[serde(skip)]
    severity: &'static str,
    owner: Option<String>,
    position: Option<i64>,
    committed: Option<i64>,
    end: Option<i64>,
    /// Unread records, from its tracker if it has one, otherwise from the committed offset.
    lag: Option<i64>,
    watermark_delay_millis: Option<i64>,
    sessions: usize,
}

/// The consumer group of the handlers.
#[derive(Clone, Debug, Serialize)]
pub struct HandlerGroup {
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
    /// Offset up to which its handler has read.
    position: Option<i64>,
    /// Offset up to which all terminal events are processed.
    committed: Option<i64>,
    end: Option<i64>,
    /// Offsets not processed yet.
    lag: i64,
}

impl Page for HealthPage {
    type Params = HealthParams;
    const INFO: PageInfo = HEALTH;

    fn build(app: &AppState, state: &LiveState, now: Timestamp, params: &HealthParams) -> Self {
        let mut partitions = partitions(state, now);
        let overview = partitions.iter().map(|one| {
            let lag = one.lag.map_or_else(|| "unknown".to_owned(), format::count);
            let summary = format!("Partition {}: {}, lag {lag}", one.partition, one.condition);
            (one.partition, one.severity, summary)
        });
        let overview = overview.collect();
        let only_unhealthy = params.show == "unhealthy";
        if only_unhealthy {
            partitions.retain(|one| one.severity != "good");
        }
        match params.sort.as_str() {
            "lag" => partitions.sort_by_key(|one| std::cmp::Reverse(one.lag)),
            "delay" => partitions.sort_by_key(|one| std::cmp::Reverse(one.watermark_delay_millis)),
            "sessions" => partitions.sort_by_key(|one| std::cmp::Reverse(one.sessions)),
            _ => {}
        }
        Self {
            kafka_error: state.kafka_error.clone(),
            topic: app.topics.session_logs.clone(),
            partitions,
            overview,
            handlers: state
                .group_lags
                .get(1)
                .map(|lag| handler_group(lag, state, now)),
            actions: action_rows(state, now),
            pauses: pause_rows(state, now),
            csrf: None,
            can_log_in: app.security.logins.is_some(),
            sort: params.sort.clone(),
            only_unhealthy,
        }
    }

    fn with_forms(self, csrf: Option<&str>) -> Self {
        Self {
            csrf: csrf.map(str::to_owned),
            ..self
        }
    }
}

/// Lists all partitions of session events.
pub(super) fn partitions(state: &LiveState, now: Timestamp) -> Vec<TrackerPartition> {
    let mut owned: BTreeMap<i32, (&str, &Assignment)> = BTreeMap::new();
    for process in state.processes.trackers(now) {
        for assignment in &process.report.assignments {
            owned.insert(assignment.partition, (&process.report.id, assignment));
        }
    }
    let known: BTreeMap<i32, PartitionOffsets> = state
        .group_lags
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
) -> TrackerPartition {
    let assignment = owned.map(|(_, assignment)| assignment);
    let watermark = assignment.and_then(|one| time::parse(one.watermark.as_deref()?));
    let delay = watermark.map(|at| (now.as_millis() - at.as_millis()).max(0));
    let (condition, severity) = match assignment {
        None => ("no tracker", "bad"),
        Some(one) if one.restoring => ("restoring", "warn"),
        Some(one) if one.paused => ("paused", "warn"),
        Some(_) if delay.is_none_or(|delay| delay > MAX_WATERMARK_DELAY_MILLIS) => {
            ("behind", "warn")
        }
        Some(_) => ("live", "good"),
    };
    let own_lag = assignment.and_then(|one| Some((one.end? - one.position?).max(0)));
    TrackerPartition {
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

fn handler_group(lag: &GroupLag, state: &LiveState, now: Timestamp) -> HandlerGroup {
    let mut owned: BTreeMap<i32, (&str, &Assignment)> = BTreeMap::new();
    let handlers = state.processes.live(now);
    for process in handlers.filter(|process| process.report.role == "handler") {
        let assignments = process.report.assignments.iter();
        for one in assignments.filter(|one| one.topic == lag.topic) {
            owned.insert(one.partition, (&process.report.id, one));
        }
    }
    HandlerGroup {
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
        Some(_) if lag == 0 => ("caught up", "good"),
        Some(_) => ("processing", "good"),
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
