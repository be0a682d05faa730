//! Redrives and discards of dead letters.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::console::audit::{Actor, Deed};
use crate::console::dead_letters::MAX_PROCESSED;
use crate::console::format;
use crate::console::pages::menu::DEAD_LETTERS;
use crate::console::pages::{RequestContext, json_or_problem, page_or_problem};
use crate::console::problem::Problem;
use crate::console::security::role::UserRole;
use crate::console::security::{Caller, csrf_header};
use crate::console::state::AppState;
use crate::dead_letters::Disposition;
use crate::dead_letters::filter::FilterArgs;
use crate::dead_letters::kind::DeadLetterKind;
use crate::dead_letters::letter::DeadLetterSummary;
use crate::dead_letters::process::ProcessSummary;
use crate::dead_letters::selection::SelectionArgs;
use crate::wire::duration;

/// Limit on the dead letters that a confirmation lists.
const MAX_LISTED: usize = 20;

/// The body of `POST /dead-letters/process`. Without `confirmed`, the response asks for
/// confirmation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DispositionForm {
    csrf: String,
    /// `redrive` or `discard`.
    operation: String,
    /// A single dead letter, as `TOPIC/PARTITION/OFFSET`; empty for all that match.
    id: String,
    /// Only of this dead-letter topic.
    topic: String,
    /// Only with this reason.
    reason: String,
    confirmed: bool,
}

/// The body of `POST /api/v1/dead-letters/redrive` and `…/discard`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DispositionRequest {
    /// Dead letters, as `TOPIC/PARTITION/OFFSET`.
    ids: Vec<String>,
    /// All dead letters that match the filters, instead of `ids`.
    all: bool,
    /// Only list the dead letters.
    dry_run: bool,
    /// Only of this kind.
    kind: Option<String>,
    /// Only with one of these reasons.
    reason: Vec<String>,
    /// Only with one of these actions pending.
    action: Vec<String>,
    /// Only of this session.
    session: Option<String>,
    /// Only older than this.
    older_than: Option<String>,
    /// Only newer than this.
    newer_than: Option<String>,
    /// At most this many, the oldest of each partition first.
    limit: Option<usize>,
}

/// The result of a redrive or discard.
#[derive(Debug, Serialize)]
struct DispositionResponse {
    /// Dead letters redriven or discarded.
    processed: usize,
    /// Dead letters that a dry run has found.
    planned: Vec<DeadLetterSummary>,
    /// Dead letters that cannot be redriven.
    skipped: Vec<SkippedDeadLetter>,
}

#[derive(Debug, Serialize)]
struct SkippedDeadLetter {
    id: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "console/disposition.html")]
struct DispositionConfirmation<'a> {
    csrf: &'a str,
    form: &'a DispositionForm,
    redrive: bool,
    planned: Vec<DeadLetterSummary>,
    skipped: Vec<SkippedDeadLetter>,
}

/// `POST /dead-letters/process`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    uri: Uri,
    headers: HeaderMap,
    Form(form): Form<DispositionForm>,
) -> Response {
    let context = RequestContext::new(caller.clone(), &headers, &uri);
    let response = async {
        let disposition = parse_disposition(&form.operation)?;
        let selection = form.selection(&app)?;
        let sender = (&caller, &actor, form.csrf.as_str());
        process(&app, sender, disposition, selection).await
    };
    match response.await {
        Ok(response) if form.confirmed => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query
                .append_pair("topic", &form.topic)
                .append_pair("reason", &form.reason)
                .append_pair("done", &form.operation)
                .append_pair("processed", &response.processed.to_string())
                .append_pair("skipped", &response.skipped.len().to_string());
            Redirect::to(&format!("{}?{}", DEAD_LETTERS.path, query.finish())).into_response()
        }
        Ok(response) => {
            let page = DispositionConfirmation {
                csrf: &form.csrf,
                form: &form,
                redrive: form.operation == "redrive",
                planned: response.planned,
                skipped: response.skipped,
            };
            page_or_problem(&app, &context, DEAD_LETTERS, Ok(page))
        }
        Err(problem) => problem.into_response(),
    }
}

/// `POST /api/v1/dead-letters/{operation}`
pub async fn json(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    Json(request): Json<DispositionRequest>,
) -> Response {
    let sender = (&caller, &actor, csrf_header(&headers));
    let response = async {
        let disposition = parse_disposition(&operation)?;
        process(&app, sender, disposition, request.selection()?).await
    };
    json_or_problem(response.await)
}

/// Processes dead letters if the caller is allowed to, and writes an audit record in any case.
async fn process(
    app: &AppState,
    (caller, actor, csrf): (&Caller, &Actor, &str),
    disposition: Disposition,
    selection: SelectionArgs,
) -> Result<DispositionResponse, Problem> {
    let (action, dry_run) = (name(disposition), selection.dry_run);
    let subject = describe(&selection, app);
    let summary = match app.security.authorize(caller, csrf, UserRole::Operator) {
        Ok(()) => app.dead_letters.process(disposition, selection).await,
        Err(problem) => Err(problem),
    };
    if !dry_run || summary.is_err() {
        let processed = summary.as_ref().map_or(0, |summary| summary.processed);
        let subject = format!("{subject}: {processed} dead letters");
        let deed = Deed {
            action,
            subject: &subject,
            note: None,
        };
        app.audit.change(actor, deed, &summary).await;
    }
    Ok(DispositionResponse::new(summary?, app))
}

fn parse_disposition(operation: &str) -> Result<Disposition, Problem> {
    match operation {
        "redrive" => Ok(Disposition::Redrive),
        "discard" => Ok(Disposition::Discard),
        _ => Err(Problem::NotFound(format!(
            "unknown operation '{operation}' on dead letters; use redrive or discard"
        ))),
    }
}

fn name(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Redrive => "redrive",
        Disposition::Discard => "discard",
    }
}

/// Describes a selection for the audit record.
fn describe(selection: &SelectionArgs, app: &AppState) -> String {
    if !selection.letters.is_empty() {
        let ids: Vec<_> = selection.letters.iter().map(ToString::to_string).collect();
        return ids.join(" ");
    }
    let filter = &selection.filter;
    let session = filter.session.as_deref().map(|id| app.redactor.id(id));
    format!(
        "all with kind {:?}, reason {:?}, action {:?}, session {session:?}",
        filter.kind, filter.reason, filter.action
    )
}

impl DispositionForm {
    fn selection(&self, app: &AppState) -> Result<SelectionArgs, Problem> {
        let non_empty = |text: &String| (!text.is_empty()).then(|| text.clone());
        let kind = match &self.topic {
            topic if topic.is_empty() => None,
            topic if *topic == app.topics.session_logs_dlq => Some(DeadLetterKind::Events),
            _ => Some(DeadLetterKind::Endings),
        };
        let request = DispositionRequest {
            all: self.id.is_empty(),
            ids: non_empty(&self.id).into_iter().collect(),
            dry_run: !self.confirmed,
            kind: kind.map(kind_name),
            reason: non_empty(&self.reason).into_iter().collect(),
            ..DispositionRequest::default()
        };
        request.selection()
    }
}

impl DispositionRequest {
    fn selection(self) -> Result<SelectionArgs, Problem> {
        let ids = self.ids.iter().map(|id| id.parse());
        let ids = ids.collect::<Result<Vec<_>, String>>();
        let span = |text: Option<String>| {
            let span = text.map(|text| duration::parse(&text)).transpose();
            span.map_err(|error| Problem::Invalid(error.to_string()))
        };
        if self.ids.is_empty() != self.all {
            return Err(Problem::Invalid(
                "pass either \"ids\", or \"all\": true for all dead letters that match the filters"
                    .to_owned(),
            ));
        }
        Ok(SelectionArgs {
            letters: ids.map_err(Problem::Invalid)?,
            all: self.all,
            dry_run: self.dry_run,
            filter: FilterArgs {
                kind: self.kind.as_deref().map(parse_kind).transpose()?,
                reason: self.reason,
                action: self.action,
                session: self.session,
                older_than: span(self.older_than)?,
                newer_than: span(self.newer_than)?,
                limit: self.limit,
            },
        })
    }
}

/// Parses a kind, named as by `sundown dlq --kind`.
fn parse_kind(text: &str) -> Result<DeadLetterKind, Problem> {
    DeadLetterKind::from_str(text, false).map_err(|_| {
        let names: Vec<_> = DeadLetterKind::ALL.into_iter().map(kind_name).collect();
        let names = names.join("' or '");
        Problem::Invalid(format!("kind must be '{names}', not '{text}'"))
    })
}

fn kind_name(kind: DeadLetterKind) -> String {
    let value = kind.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

impl DispositionResponse {
    fn new(summary: ProcessSummary, app: &AppState) -> Self {
        let mut planned = summary.planned;
        if app.redactor.is_on() {
            for dead_letter in &mut planned {
                let session = dead_letter.session.as_deref();
                dead_letter.session = session.map(|id| app.redactor.id(id));
                // The error may contain ids.
                dead_letter.error.clear();
            }
        }
        let skipped = summary
            .skipped
            .into_iter()
            .map(|(id, reason)| SkippedDeadLetter {
                id: id.to_string(),
                reason,
            });
        Self {
            processed: summary.processed,
            planned,
            skipped: skipped.collect(),
        }
    }
}
