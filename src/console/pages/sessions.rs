//! Lookup of live sessions, and of the recent terminal events of a session.

pub mod revoke;

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::health::{TrackerPartition, partitions};
use super::menu::SESSIONS;
use super::terminal_events::{self, TerminalEventRow};
use super::{RequestContext, json_or_problem, page_or_problem};
use crate::console::format::{self, Moment};
use crate::console::problem::Problem;
use crate::console::redact::Redactor;
use crate::console::security::Caller;
use crate::console::security::role::UserRole;
use crate::console::state::AppState;
use crate::session::{EndReason, Timestamp};
use crate::session_lookup::owners::{self, TrackerEndpoint};
use crate::session_lookup::search::{SearchResult, SessionCount};
use crate::session_lookup::{FoundSession, LookupQuery};
use crate::wire::end_reason::EndReasonFormat;
use crate::wire::time;

/// The parameters of the page: one of `session`, `user` and `attributes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SessionsParams {
    /// A session id.
    session: String,
    /// A user id.
    user: String,
    /// Whether the user id is a string even if it looks like a number.
    string: bool,
    /// Attributes to count live sessions by: `name=value`, separated by commas, or `*` for all
    /// sessions.
    attributes: String,
    /// Not empty after a revocation has been written.
    done: String,
}

#[derive(Template)]
#[template(path = "console/sessions.html")]
struct SessionsPage<'a> {
    csrf: Option<&'a str>,
    can_log_in: bool,
    params: &'a SessionsParams,
    found: Option<FoundSessions>,
}

/// The result of a lookup.
#[derive(Debug, Default, Serialize)]
struct FoundSessions {
    /// Live sessions, by deadline.
    sessions: Vec<SessionRow>,
    /// Whether the list is truncated.
    more: bool,
    /// The number of live sessions that match; null for a lookup by session id.
    count: Option<u64>,
    /// `live`, `ended` or `unknown`; null unless looked up by session id. With gaps, an ended or
    /// unknown session may be live.
    state: Option<&'static str>,
    /// The session's ending, if it has ended and the trackers remember it.
    ended: Option<EndedRow>,
    /// Why the list may be incomplete.
    gaps: Vec<String>,
    /// Terminal events of the session, newest first, among those that the console keeps.
    terminal_events: Vec<TerminalEventRow>,
}

/// A session that has ended.
#[derive(Debug, Serialize)]
struct EndedRow {
    #[serde(serialize_with = "EndReasonFormat::serialize")]
    reason: EndReason,
    ended: Option<Moment>,
    partition: i32,
}

/// A live session.
#[derive(Debug, Serialize)]
struct SessionRow {
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
    /// Why the session is live after its deadline.
    overdue: Option<String>,
    partition: i32,
    attributes: BTreeMap<String, String>,
    /// The id for forms; `None` if it is redacted.
    #[serde(skip)]
    id: Option<String>,
}

/// `GET /sessions`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    Query(params): Query<SessionsParams>,
) -> Response {
    let context = RequestContext::new(caller, &headers, &uri);
    let found = match find(&app, &params).await {
        Ok(found) => Some(found),
        Err(Problem::Invalid(_)) if params.is_empty() => None,
        Err(problem) => return problem.into_response(),
    };
    let page = SessionsPage {
        csrf: context.csrf(UserRole::Admin),
        can_log_in: app.security.logins.is_some(),
        params: &params,
        found,
    };
    page_or_problem(&app, &context, SESSIONS, Ok(page))
}

/// `GET /api/v1/sessions`
pub async fn json(
    State(app): State<Arc<AppState>>,
    Query(params): Query<SessionsParams>,
) -> Response {
    json_or_problem(find(&app, &params).await)
}

impl SessionsParams {
    fn is_empty(&self) -> bool {
        self.session.is_empty() && self.user.is_empty() && self.attributes.is_empty()
    }

    fn query(&self) -> Result<LookupQuery, Problem> {
        let non_empty = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        let given = [&self.session, &self.user, &self.attributes];
        if given.iter().filter(|one| !one.is_empty()).count() != 1 {
            return Err(Problem::Invalid(
                "pass one of session, user and attributes, as in ?session=ID, ?user=ID or ?attributes=NAME=VALUE".to_owned(),
            ));
        }
        Ok(LookupQuery {
            session: non_empty(&self.session),
            user: non_empty(&self.user),
            string: self.string,
            ..LookupQuery::default()
        })
    }
}

/// Parses attributes: `name=value`, separated by commas; none from `*`.
///
/// # Errors
/// [`Problem::Invalid`] if the text has another form.
fn parse_attributes(text: &str) -> Result<BTreeMap<String, String>, Problem> {
    if text.trim() == "*" {
        return Ok(BTreeMap::new());
    }
    let pairs = text.split(',').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Problem::Invalid(format!(
            "'{pair}' is not an attribute; write NAME=VALUE, separated by commas, or * for all sessions"
        ))),
    });
    pairs.collect()
}

async fn find(app: &AppState, params: &SessionsParams) -> Result<FoundSessions, Problem> {
    let query = params.query()?;
    if !params.attributes.is_empty() {
        let count = count_matching(app, &parse_attributes(&params.attributes)?).await?;
        return Ok(FoundSessions {
            count: Some(count.sessions),
            gaps: count.gaps.iter().map(ToString::to_string).collect(),
            ..FoundSessions::default()
        });
    }
    let _permit = app.lookups.try_acquire().map_err(|_| Problem::Busy)?;
    let (trackers, partition_count) = trackers(app);
    let result = app.searcher.find(&query, &trackers, partition_count).await;
    let count = match (&query.user, result.more) {
        (None, _) => None,
        (Some(_), false) => u64::try_from(result.sessions.len()).ok(),
        (Some(_), true) => {
            let count = app.searcher.count(query, &trackers, partition_count).await;
            Some(count.sessions)
        }
    };
    Ok(FoundSessions {
        count,
        ..found(app, params, &result)
    })
}

/// Counts the live sessions that have these attributes.
async fn count_matching(
    app: &AppState,
    attributes: &BTreeMap<String, String>,
) -> Result<SessionCount, Problem> {
    let attributes =
        serde_json::to_string(attributes).map_err(|error| Problem::Invalid(error.to_string()))?;
    let query = LookupQuery {
        attributes: Some(attributes),
        ..LookupQuery::default()
    };
    let _permit = app.lookups.try_acquire().map_err(|_| Problem::Busy)?;
    let (trackers, partition_count) = trackers(app);
    Ok(app.searcher.count(query, &trackers, partition_count).await)
}

/// Returns the running trackers and the number of partitions of the session event topic.
fn trackers(app: &AppState) -> (Vec<TrackerEndpoint>, i32) {
    let state = app.live.state();
    let reports = state.processes.trackers(app.live.now());
    let reports = reports.map(|process| (&process.report, process.reported_at));
    let lag = state.group_lags.first();
    let partition_count = lag.map_or(0, |lag| lag.partitions.len());
    (
        owners::trackers(reports),
        i32::try_from(partition_count).unwrap_or(i32::MAX),
    )
}

fn found(app: &AppState, params: &SessionsParams, result: &SearchResult) -> FoundSessions {
    let now = app.live.now();
    let state = app.live.state();
    let health = partitions(&state, now);
    let terminal_events = state.terminal_events.iter();
    let terminal_events = terminal_events.filter(|(_, ended)| ended.session_id == params.session);
    let rows = result.sessions.iter();
    FoundSessions {
        sessions: rows
            .map(|session| row(session, params, &health, &app.redactor, now))
            .collect(),
        more: result.more,
        count: None,
        state: (!params.session.is_empty()).then(|| session_state(result)),
        ended: ended(result, now),
        gaps: result.gaps.iter().map(ToString::to_string).collect(),
        terminal_events: terminal_events
            .map(|(record, ended)| terminal_events::row(record, ended, &app.redactor, now))
            .collect(),
    }
}

fn session_state(result: &SearchResult) -> &'static str {
    if !result.sessions.is_empty() {
        "live"
    } else if result.ended.is_empty() {
        "unknown"
    } else {
        "ended"
    }
}

/// The latest remembered ending; `None` if the session is live.
fn ended(result: &SearchResult, now: Timestamp) -> Option<EndedRow> {
    let ended = result.latest_ending()?;
    Some(EndedRow {
        reason: ended.reason,
        ended: Moment::parse(&ended.ended_at, now),
        partition: ended.partition,
    })
}

fn row(
    session: &FoundSession,
    params: &SessionsParams,
    health: &[TrackerPartition],
    redactor: &Redactor,
    now: Timestamp,
) -> SessionRow {
    let at = |text: &String| Moment::parse(text, now);
    let id = &session.session_id;
    let known = !redactor.is_on() || *id == params.session;
    SessionRow {
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

/// Why a session is live after its deadline; `None` before it.
fn overdue(session: &FoundSession, health: &[TrackerPartition], now: Timestamp) -> Option<String> {
    let deadline = time::parse(session.deadline.as_deref()?)?;
    if deadline > now {
        return None;
    }
    let mut health = health.iter();
    let condition = health.find(|one| one.partition == session.partition);
    let condition = condition.map(|one| one.condition);
    Some(match condition {
        None | Some("live") => "late activity may still extend it".to_owned(),
        Some(condition) => {
            format!("its partition has the state \"{condition}\", so its sessions do not end")
        }
    })
}
