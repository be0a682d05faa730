//! Finding live sessions, and what became of one that has ended.

pub mod end;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::endings::{self, Row as EndingRow};
use super::health::{Partition, partitions};
use super::{RequestContext, answer};
use crate::console::format::{self, Moment};
use crate::console::problem::Problem;
use crate::console::redact::Redactor;
use crate::console::security::Caller;
use crate::console::state::AppState;
use crate::session::{EndReason, Timestamp};
use crate::session_lookup::search::SearchResult;
use crate::session_lookup::{self, FoundSession, owners};
use crate::wire::time;

const TITLE: &str = "Sessions";
/// Path of the page, and of the endpoint below `/api/v1`.
pub const PATH: &str = "/sessions";

/// What stands after the question mark.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Question {
    /// The session of this id.
    session: String,
    /// The sessions of this user.
    user: String,
    /// The user id is a string, though it reads as a number.
    string: bool,
    /// A revocation has just been written.
    done: String,
}

#[derive(Template)]
#[template(path = "console/sessions.html")]
struct Sessions<'a> {
    csrf: Option<&'a str>,
    can_log_in: bool,
    question: &'a Question,
    found: Option<Found>,
}

/// What a question comes to.
#[derive(Debug, Default, Serialize)]
struct Found {
    /// Live sessions, the one that ends first in front.
    sessions: Vec<Row>,
    /// Whether there are more than these.
    more: bool,
    /// Why there may be others.
    gaps: Vec<String>,
    /// Terminal events of the session asked for that the console remembers, the newest
    /// first.
    endings: Vec<EndingRow>,
}

/// A live session.
#[derive(Debug, Serialize)]
struct Row {
    session_id: String,
    user_id: Option<String>,
    policy: String,
    generation: u64,
    started: Option<Moment>,
    last_activity: Option<Moment>,
    deadline: Option<Moment>,
    #[serde(serialize_with = "crate::wire::end_reason::option::serialize")]
    reason: Option<EndReason>,
    why: String,
    /// Why it lives though its deadline has passed.
    overdue: Option<String>,
    partition: i32,
    attributes: std::collections::BTreeMap<String, String>,
    /// The id that forms carry; none where it must not be told.
    #[serde(skip)]
    id: Option<String>,
}

/// `GET /sessions`
pub async fn page(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    Query(question): Query<Question>,
) -> Response {
    let visit = RequestContext::new(caller, &headers, &uri);
    let found = match find(&app, &question).await {
        Ok(found) => Some(found),
        Err(Problem::Invalid(_)) if question.is_none() => None,
        Err(problem) => return problem.into_response(),
    };
    let view = Sessions {
        csrf: visit.csrf(),
        can_log_in: app.security.logins.is_some(),
        question: &question,
        found,
    };
    answer(&app, &visit, (PATH, TITLE), Ok(view))
}

/// `GET /api/v1/sessions`
pub async fn api(State(app): State<Arc<AppState>>, Query(question): Query<Question>) -> Response {
    match find(&app, &question).await {
        Ok(found) => Json(found).into_response(),
        Err(problem) => problem.into_json(),
    }
}

impl Question {
    fn is_none(&self) -> bool {
        self.session.is_empty() && self.user.is_empty()
    }

    fn query(&self) -> Result<session_lookup::LookupQuery, Problem> {
        let given = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        let query = session_lookup::LookupQuery {
            session: given(&self.session),
            user: given(&self.user),
            string: self.string,
        };
        if query.session.is_some() == query.user.is_some() {
            return Err(Problem::Invalid(
                "give one of session and user, as in ?session=ID or ?user=ID".to_owned(),
            ));
        }
        Ok(query)
    }
}

async fn find(app: &AppState, question: &Question) -> Result<Found, Problem> {
    let query = question.query()?;
    let _place = app.lookups.try_acquire().map_err(|_| Problem::Busy)?;
    let (trackers, partition_count) = {
        let state = app.live.state();
        let reports = state.processes.trackers(app.live.now());
        let reports = reports.map(|process| (&process.report, process.seen));
        let lag = state.lags.first();
        (
            owners::trackers(reports),
            lag.map_or(0, |lag| lag.partitions.len()),
        )
    };
    let partition_count = i32::try_from(partition_count).unwrap_or(i32::MAX);
    let result = app.searcher.find(&query, &trackers, partition_count).await;
    Ok(found(app, question, &result))
}

fn found(app: &AppState, question: &Question, result: &SearchResult) -> Found {
    let now = app.live.now();
    let state = app.live.state();
    let health = partitions(&state, now);
    let endings = state.endings.iter();
    let endings = endings.filter(|(_, ended)| ended.session_id == question.session);
    let rows = result.sessions.iter();
    Found {
        sessions: rows
            .map(|session| row(session, question, &health, &app.redactor, now))
            .collect(),
        more: result.more,
        gaps: result.gaps.iter().map(ToString::to_string).collect(),
        endings: endings
            .map(|(record, ended)| endings::row(record, ended, &app.redactor, now))
            .collect(),
    }
}

fn row(
    session: &FoundSession,
    question: &Question,
    health: &[Partition],
    redactor: &Redactor,
    now: Timestamp,
) -> Row {
    let at = |text: &String| Moment::parse(text, now);
    let id = &session.session_id;
    let known = !redactor.is_on() || *id == question.session;
    Row {
        session_id: redactor.id(id),
        user_id: session.user().map(|user| redactor.id(&user)),
        policy: session.policy.name.clone(),
        generation: session.policy.generation,
        started: at(&session.started_at),
        last_activity: at(&session.last_activity),
        deadline: session.deadline.as_ref().and_then(at),
        reason: session.reason,
        why: session.why.clone(),
        overdue: overdue(session, health, now),
        partition: session.partition,
        attributes: redactor.attributes(&session.attributes),
        id: known.then(|| id.clone()),
    }
}

/// Why a session whose deadline has passed is still there.
fn overdue(session: &FoundSession, health: &[Partition], now: Timestamp) -> Option<String> {
    let deadline = time::parse(session.deadline.as_deref()?)?;
    if deadline > now {
        return None;
    }
    let mut health = health.iter();
    let condition = health.find(|one| one.partition == session.partition);
    let condition = condition.map(|one| one.condition);
    Some(match condition {
        None | Some("live") => "activity that comes late may still save it".to_owned(),
        Some(condition) => format!("its partition is {condition}, so nothing ends there"),
    })
}
