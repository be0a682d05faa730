//! The topics of the installation and their records.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::menu::TOPICS;
use super::{RequestContext, json_or_problem, page_or_problem};
use crate::console::explorer::decode::ShownRecord;
use crate::console::explorer::{MAX_RECORDS, Start};
use crate::console::format;
use crate::console::problem::Problem;
use crate::console::security::Caller;
use crate::console::state::AppState;
use crate::kafka::topics::TopicError;
use crate::wire::time;

/// Records of a page by default.
const DEFAULT_COUNT: usize = 25;

/// The parameters of a page of records; by default, the newest ones.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RecordsParams {
    /// First offset.
    #[serde(default)]
    offset: String,
    /// Timestamp of the first record, RFC 3339, instead of an offset.
    #[serde(default)]
    at: String,
    /// Number of records.
    #[serde(default)]
    count: String,
}

#[derive(Template, Serialize)]
#[template(path = "console/topics.html")]
pub struct TopicsPage {
    topics: Vec<TopicRow>,
}

#[derive(Debug, Serialize)]
pub struct TopicRow {
    name: String,
    exists: bool,
    replication: usize,
    partitions: Vec<TopicPartitionRow>,
    cleanup: Option<String>,
    records: i64,
}

#[derive(Debug, Serialize)]
pub struct TopicPartitionRow {
    partition: i32,
    first: i64,
    end: i64,
    leader: Option<i32>,
    replicas: usize,
    in_sync: usize,
}

/// Records of a partition.
#[derive(Template, Serialize)]
#[template(path = "console/records.html")]
pub struct RecordsPage {
    topic: String,
    partition: i32,
    partitions: i32,
    first: i64,
    end: i64,
    /// First offset of the previous page.
    earlier: Option<i64>,
    /// First offset of the next page.
    later: Option<i64>,
    records: Vec<ShownRecord>,
    #[serde(skip)]
    params: RecordsParams,
    #[serde(skip)]
    count: usize,
}

/// `GET /topics`
pub async fn list_html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let context = RequestContext::new(caller, &headers, &uri);
    page_or_problem(&app, &context, TOPICS, list(&app).await)
}

/// `GET /api/v1/topics`
pub async fn list_json(State(app): State<Arc<AppState>>) -> Response {
    json_or_problem(list(&app).await)
}

/// `GET /topics/{topic}/{partition}`
pub async fn records_html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Path((topic, partition)): Path<(String, i32)>,
    uri: Uri,
    headers: HeaderMap,
    Query(params): Query<RecordsParams>,
) -> Response {
    let context = RequestContext::new(caller, &headers, &uri);
    let page = records(&app, topic, partition, params).await;
    page_or_problem(&app, &context, TOPICS, page)
}

/// `GET /api/v1/topics/{topic}/{partition}`
pub async fn records_json(
    State(app): State<Arc<AppState>>,
    Path((topic, partition)): Path<(String, i32)>,
    Query(params): Query<RecordsParams>,
) -> Response {
    json_or_problem(records(&app, topic, partition, params).await)
}

async fn list(app: &AppState) -> Result<TopicsPage, Problem> {
    let names = app.topics.all();
    let existing = app.explorer.existing(&names).await?;
    let mut topics = Vec::new();
    for name in names {
        let Some(topic) = existing.get(name) else {
            topics.push(TopicRow {
                name: name.to_owned(),
                exists: false,
                replication: 0,
                partitions: Vec::new(),
                cleanup: None,
                records: 0,
            });
            continue;
        };
        let offsets = app.explorer.offsets(name, topic.partition_count()).await?;
        let states = topic.partitions.iter().zip(&offsets);
        let partitions = (0..)
            .zip(states)
            .map(|(partition, (state, offsets))| TopicPartitionRow {
                partition,
                first: offsets.first,
                end: offsets.end,
                leader: state.leader,
                replicas: state.replicas.len(),
                in_sync: state.in_sync.len(),
            });
        topics.push(TopicRow {
            name: name.to_owned(),
            exists: true,
            replication: topic.replication(),
            partitions: partitions.collect(),
            cleanup: topic.config("cleanup.policy").map(str::to_owned),
            records: offsets.iter().map(|one| one.end - one.first).sum(),
        });
    }
    Ok(TopicsPage { topics })
}

async fn records(
    app: &AppState,
    topic: String,
    partition: i32,
    params: RecordsParams,
) -> Result<RecordsPage, Problem> {
    if !app.topics.all().contains(&topic.as_str()) {
        let text = format!("the installation has no topic '{topic}'");
        return Err(Problem::NotFound(text));
    }
    let existing = app.explorer.existing(&[&topic]).await?;
    let Some(state) = existing.get(&topic) else {
        let missing = TopicError::Missing { names: vec![topic] };
        return Err(Problem::NotFound(missing.to_string()));
    };
    let partitions = state.partition_count();
    if !(0..partitions).contains(&partition) {
        let text = format!(
            "topic '{topic}' has no partition {partition}; it has {partitions} partitions, numbered from 0"
        );
        return Err(Problem::NotFound(text));
    }
    let (start, count) = (parse_start(&params)?, parse_count(&params)?);
    let excerpt = app.explorer.read(&topic, partition, start, count).await?;
    let now = app.live.now();
    let (first, end) = (excerpt.offsets.first, excerpt.offsets.end);
    let page_size = i64::try_from(count).unwrap_or(i64::MAX);
    let begins = excerpt.records.first().map(|record| record.offset);
    let next = excerpt.records.last().map(|record| record.offset + 1);
    let shown = |record| ShownRecord::new(record, &app.topics, &app.redactor, now);
    Ok(RecordsPage {
        partition,
        partitions,
        first,
        end,
        earlier: begins
            .filter(|at| *at > first)
            .map(|at| (at - page_size).max(first)),
        later: next.filter(|at| *at < end),
        records: excerpt.records.iter().map(shown).collect(),
        topic,
        params,
        count,
    })
}

fn parse_start(params: &RecordsParams) -> Result<Start, Problem> {
    let (offset, at) = (params.offset.trim(), params.at.trim());
    if !at.is_empty() {
        let parsed = time::parse(at).map(Start::Time);
        let text = format!("invalid time '{at}'; use RFC 3339, such as 2025-02-07T12:00:00Z");
        return parsed.ok_or(Problem::Invalid(text));
    }
    match offset {
        "" => Ok(Start::Newest),
        _ => offset.parse().map(Start::Offset).map_err(|_| {
            Problem::Invalid(format!("invalid offset '{offset}'; use a whole number"))
        }),
    }
}

fn parse_count(params: &RecordsParams) -> Result<usize, Problem> {
    let text = params.count.trim();
    if text.is_empty() {
        return Ok(DEFAULT_COUNT);
    }
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=MAX_RECORDS).contains(number));
    number.ok_or_else(|| {
        Problem::Invalid(format!(
            "invalid count '{text}'; use a number from 1 to {MAX_RECORDS}"
        ))
    })
}
