//! The topics: what they hold, record by record.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{RequestContext, answer};
use crate::console::explorer::decode::ShownRecord;
use crate::console::explorer::{MAX_RECORDS, Start};
use crate::console::format;
use crate::console::problem::Problem;
use crate::console::security::Caller;
use crate::console::state::AppState;
use crate::kafka::topics::TopicError;
use crate::wire::time;

/// How many records a page has unless told otherwise.
const USUAL: usize = 25;
const TITLE: &str = "Topics";
/// Path of the page, and of the endpoint below `/api/v1`.
pub const PATH: &str = "/topics";

/// Where to begin reading.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Question {
    /// At this offset.
    #[serde(default)]
    offset: String,
    /// Or at the first record of this time or later: RFC 3339.
    #[serde(default)]
    at: String,
    /// How many records.
    #[serde(default)]
    count: String,
}

/// The topics.
#[derive(Template, Serialize)]
#[template(path = "console/topics.html")]
pub struct Topics {
    topics: Vec<Row>,
}

/// A topic.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    /// Whether it is there.
    exists: bool,
    replication: usize,
    partitions: Vec<PartitionRow>,
    cleanup: Option<String>,
    records: i64,
}

/// A partition.
#[derive(Debug, Serialize)]
pub struct PartitionRow {
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
pub struct Records {
    topic: String,
    partition: i32,
    partitions: i32,
    first: i64,
    end: i64,
    /// Where the page before begins.
    earlier: Option<i64>,
    /// Where the page behind begins.
    later: Option<i64>,
    records: Vec<ShownRecord>,
    #[serde(skip)]
    question: Question,
    #[serde(skip)]
    count: usize,
}

/// `GET /topics`
pub async fn list_page(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let visit = RequestContext::new(caller, &headers, &uri);
    answer(&app, &visit, (PATH, TITLE), list(&app).await)
}

/// `GET /api/v1/topics`
pub async fn list_api(State(app): State<Arc<AppState>>) -> Response {
    json(list(&app).await)
}

/// `GET /topics/{topic}/{partition}`
pub async fn records_page(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Path((topic, partition)): Path<(String, i32)>,
    uri: Uri,
    headers: HeaderMap,
    Query(question): Query<Question>,
) -> Response {
    let visit = RequestContext::new(caller, &headers, &uri);
    answer(
        &app,
        &visit,
        (PATH, TITLE),
        records(&app, topic, partition, question).await,
    )
}

/// `GET /api/v1/topics/{topic}/{partition}`
pub async fn records_api(
    State(app): State<Arc<AppState>>,
    Path((topic, partition)): Path<(String, i32)>,
    Query(question): Query<Question>,
) -> Response {
    json(records(&app, topic, partition, question).await)
}

fn json<T: Serialize>(answer: Result<T, Problem>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => problem.into_json(),
    }
}

async fn list(app: &AppState) -> Result<Topics, Problem> {
    let names = app.topics.all();
    let existing = app.explorer.existing(&names).await?;
    let mut topics = Vec::new();
    for name in names {
        let Some(topic) = existing.get(name) else {
            topics.push(Row {
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
            .map(|(partition, (state, offsets))| PartitionRow {
                partition,
                first: offsets.first,
                end: offsets.end,
                leader: state.leader,
                replicas: state.replicas.len(),
                in_sync: state.in_sync.len(),
            });
        topics.push(Row {
            name: name.to_owned(),
            exists: true,
            replication: topic.replication(),
            partitions: partitions.collect(),
            cleanup: topic.config("cleanup.policy").map(str::to_owned),
            records: offsets.iter().map(|one| one.end - one.first).sum(),
        });
    }
    Ok(Topics { topics })
}

async fn records(
    app: &AppState,
    topic: String,
    partition: i32,
    question: Question,
) -> Result<Records, Problem> {
    if !app.topics.all().contains(&topic.as_str()) {
        let text = format!("'{topic}' is no topic of this installation");
        return Err(Problem::NotFound(text));
    }
    let existing = app.explorer.existing(&[&topic]).await?;
    let Some(state) = existing.get(&topic) else {
        let missing = TopicError::Missing { names: vec![topic] };
        return Err(Problem::NotFound(missing.to_string()));
    };
    let partitions = state.partition_count();
    if !(0..partitions).contains(&partition) {
        let text = format!("'{topic}' has no partition {partition}: it has {partitions}, from 0");
        return Err(Problem::NotFound(text));
    }
    let (start, count) = (start(&question)?, how_many(&question)?);
    let excerpt = app.explorer.read(&topic, partition, start, count).await?;
    let now = app.live.now();
    let (first, end) = (excerpt.offsets.first, excerpt.offsets.end);
    let wanted = i64::try_from(count).unwrap_or(i64::MAX);
    let begins = excerpt.records.first().map(|record| record.offset);
    let next = excerpt.records.last().map(|record| record.offset + 1);
    let shown = |record| ShownRecord::new(record, &app.topics, &app.redactor, now);
    Ok(Records {
        partition,
        partitions,
        first,
        end,
        earlier: begins
            .filter(|at| *at > first)
            .map(|at| (at - wanted).max(first)),
        later: next.filter(|at| *at < end),
        records: excerpt.records.iter().map(shown).collect(),
        topic,
        question,
        count,
    })
}

fn start(question: &Question) -> Result<Start, Problem> {
    let (offset, at) = (question.offset.trim(), question.at.trim());
    if !at.is_empty() {
        let parsed = time::parse(at).map(Start::Time);
        let text = format!("'{at}' is no time: write it like 2025-02-07T12:00:00Z");
        return parsed.ok_or(Problem::Invalid(text));
    }
    match offset {
        "" => Ok(Start::Newest),
        _ => offset.parse().map(Start::Offset).map_err(|_| {
            Problem::Invalid(format!("'{offset}' is no offset: write a whole number"))
        }),
    }
}

fn how_many(question: &Question) -> Result<usize, Problem> {
    let text = question.count.trim();
    if text.is_empty() {
        return Ok(USUAL);
    }
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=MAX_RECORDS).contains(number));
    number.ok_or_else(|| Problem::Invalid(format!("'{text}' is no count: 1 to {MAX_RECORDS}")))
}
