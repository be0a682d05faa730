//! Trying dead letters again, or letting go of them, from a page or a script.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::console::audit::Audit;
use crate::console::format;
use crate::console::pages::{RequestContext, answer};
use crate::console::problem::Problem;
use crate::console::redrive::MAX_LETTERS;
use crate::console::security::{Caller, csrf_of};
use crate::console::state::AppState;
use crate::dead_letters::Disposition;
use crate::dead_letters::filter::FilterArgs;
use crate::dead_letters::kind::DeadLetterKind;
use crate::dead_letters::letter::DeadLetterSummary;
use crate::dead_letters::process::ProcessSummary;
use crate::dead_letters::selection::SelectionArgs;
use crate::http::server::PeerAddr;
use crate::wire::duration;

const PLACE: (&str, &str) = ("/dead-letters", "Dead letters");
/// How many letters a confirmation shows.
const SHOWN: usize = 20;

/// The page's form. Without `confirmed`, it shows what would be done.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FormBody {
    csrf: String,
    /// `redrive` or `discard`.
    how: String,
    /// One letter, as `sundown dlq list` names it; empty for all that fit.
    letter: String,
    /// Only of this dead-letter topic.
    topic: String,
    /// Only with this reason.
    reason: String,
    confirmed: bool,
}

/// The body of `POST /api/v1/dead-letters/redrive` and `…/discard`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiBody {
    /// These letters.
    letters: Vec<String>,
    /// All letters that fit the rest, in place of `letters`.
    all: bool,
    /// Only say which these are.
    dry_run: bool,
    /// Only `endings` or only `events`.
    kind: Option<String>,
    /// Only with one of these reasons.
    reason: Vec<String>,
    /// Only those for which one of these actions is undone.
    action: Vec<String>,
    /// Only those of this session.
    session: Option<String>,
    /// Only those that have been here for longer.
    older_than: Option<String>,
    /// Only those that have not been here for so long.
    newer_than: Option<String>,
    /// At most so many, the oldest of each partition first.
    limit: Option<usize>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Treated {
    /// How many letters have been dealt with.
    processed: usize,
    /// Those that a dry run would have dealt with.
    planned: Vec<DeadLetterSummary>,
    /// Those that could not be processed.
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    id: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "console/redrive.html")]
struct Confirm<'a> {
    csrf: &'a str,
    order: &'a FormBody,
    redrive: bool,
    treated: Treated,
}

/// `POST /dead-letters/process`
pub async fn page(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    uri: Uri,
    headers: HeaderMap,
    Form(order): Form<FormBody>,
) -> Response {
    let visit = RequestContext::new(caller.clone(), &headers, &uri);
    let treated = async {
        let treatment = treatment(&order.how)?;
        let selection = order.selection(&app)?;
        let asker = (&caller, peer, order.csrf.as_str());
        redrive(&app, asker, treatment, selection).await
    };
    match treated.await {
        Ok(treated) if order.confirmed => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query
                .append_pair("topic", &order.topic)
                .append_pair("reason", &order.reason)
                .append_pair("done", &order.how)
                .append_pair("processed", &treated.processed.to_string())
                .append_pair("skipped", &treated.skipped.len().to_string());
            Redirect::to(&format!("/dead-letters?{}", query.finish())).into_response()
        }
        Ok(treated) => {
            let view = Confirm {
                csrf: &order.csrf,
                order: &order,
                redrive: order.how == "redrive",
                treated,
            };
            answer(&app, &visit, PLACE, Ok(view))
        }
        Err(problem) => problem.into_response(),
    }
}

/// `POST /api/v1/dead-letters/{how}`
pub async fn api(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    Path(how): Path<String>,
    headers: HeaderMap,
    Json(wish): Json<ApiBody>,
) -> Response {
    let csrf = csrf_of(&headers);
    let treated = async {
        let treatment = treatment(&how)?;
        redrive(&app, (&caller, peer, csrf), treatment, wish.selection()?).await
    };
    match treated.await {
        Ok(treated) => Json(treated).into_response(),
        Err(problem) => problem.into_json(),
    }
}

/// Does it if the caller may, and says who did, whether it worked or not.
async fn redrive(
    app: &AppState,
    (caller, peer, csrf): (&Caller, PeerAddr, &str),
    treatment: Disposition,
    selection: SelectionArgs,
) -> Result<Treated, Problem> {
    let (name, dry_run) = (name(treatment), selection.dry_run);
    let told = describe(&selection, app);
    let outcome = match app.security.admit(caller, csrf) {
        Ok(()) => app.redriver.redrive(treatment, selection).await,
        Err(problem) => Err(problem),
    };
    if !dry_run || outcome.is_err() {
        let processed = outcome.as_ref().map_or(0, |outcome| outcome.processed);
        Audit::new(name, caller, peer).tell(&outcome, &format!("{told}: {processed} letters"));
    }
    Ok(Treated::new(outcome?, app))
}

fn treatment(how: &str) -> Result<Disposition, Problem> {
    match how {
        "redrive" => Ok(Disposition::Redrive),
        "discard" => Ok(Disposition::Discard),
        _ => Err(Problem::NotFound(format!(
            "'{how}' is nothing that can be done with dead letters: redrive or discard them"
        ))),
    }
}

fn name(treatment: Disposition) -> &'static str {
    match treatment {
        Disposition::Redrive => "redrive",
        Disposition::Discard => "discard",
    }
}

/// For the audit record.
fn describe(selection: &SelectionArgs, app: &AppState) -> String {
    if !selection.letters.is_empty() {
        let letters: Vec<_> = selection.letters.iter().map(ToString::to_string).collect();
        return letters.join(" ");
    }
    let filter = &selection.filter;
    let session = filter.session.as_deref().map(|id| app.redactor.id(id));
    format!(
        "all with kind {:?}, reason {:?}, action {:?}, session {session:?}",
        filter.kind, filter.reason, filter.action
    )
}

impl FormBody {
    fn selection(&self, app: &AppState) -> Result<SelectionArgs, Problem> {
        let letters: Vec<String> = [&self.letter].into_iter().cloned().collect();
        let wish = ApiBody {
            all: self.letter.is_empty(),
            letters: letters.into_iter().filter(|id| !id.is_empty()).collect(),
            dry_run: !self.confirmed,
            kind: match &self.topic {
                topic if topic.is_empty() => None,
                topic if *topic == app.topics.session_logs_dlq => Some("events".to_owned()),
                _ => Some("endings".to_owned()),
            },
            reason: [&self.reason]
                .into_iter()
                .filter(|reason| !reason.is_empty())
                .cloned()
                .collect(),
            ..ApiBody::default()
        };
        wish.selection()
    }
}

impl ApiBody {
    fn selection(self) -> Result<SelectionArgs, Problem> {
        let letters = self.letters.iter().map(|id| id.parse());
        let letters = letters.collect::<Result<Vec<_>, String>>();
        let span = |text: Option<String>| {
            let span = text.map(|text| duration::parse(&text)).transpose();
            span.map_err(|error| Problem::Invalid(error.to_string()))
        };
        let kind = match self.kind.as_deref() {
            None => None,
            Some("endings") => Some(DeadLetterKind::Endings),
            Some("events") => Some(DeadLetterKind::Events),
            Some(other) => {
                let text = format!("kind is 'endings' or 'events', not '{other}'");
                return Err(Problem::Invalid(text));
            }
        };
        if self.letters.is_empty() != self.all {
            return Err(Problem::Invalid(
                "name letters, or give \"all\": true for all that fit the rest".to_owned(),
            ));
        }
        Ok(SelectionArgs {
            letters: letters.map_err(Problem::Invalid)?,
            all: self.all,
            dry_run: self.dry_run,
            filter: FilterArgs {
                kind,
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

impl Treated {
    fn new(outcome: ProcessSummary, app: &AppState) -> Self {
        let mut planned = outcome.planned;
        if app.redactor.is_on() {
            for letter in &mut planned {
                letter.session = letter.session.as_deref().map(|id| app.redactor.id(id));
                // It may name some.
                letter.error.clear();
            }
        }
        let skipped = outcome.skipped.into_iter().map(|(id, reason)| Skipped {
            id: id.to_string(),
            reason,
        });
        Self {
            processed: outcome.processed,
            planned,
            skipped: skipped.collect(),
        }
    }
}
