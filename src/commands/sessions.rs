//! `sundown sessions`: queries trackers for live sessions.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{TopicAdmin, require};
use crate::output::{self, Format, OutputArgs, table};
use crate::session_lookup::owners::TrackerEndpoint;
use crate::session_lookup::search::{SearchGap, SearchResult, Searcher};
use crate::session_lookup::{AdminTokenArgs, EndedSession, FoundSession, LookupQuery};

/// Subcommands of `sundown sessions`.
#[derive(Subcommand, Debug)]
pub enum SessionsCommand {
    /// Show a session: its user, deadline and end reason if it is live, or its ending if it has
    /// ended recently.
    Get(GetSessionArgs),
    /// List the live sessions of a user, ordered by deadline.
    List(ListSessionsArgs),
}

/// Flags of `sundown sessions get`.
#[derive(Args, Clone, Debug)]
pub struct GetSessionArgs {
    /// Session id.
    #[arg(value_name = "ID")]
    pub session: String,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Flags of `sundown sessions list`.
#[derive(Args, Clone, Debug)]
pub struct ListSessionsArgs {
    /// User id. A whole number such as 123 selects the user whose events carry the JSON
    /// number 123, not the string "123"; see --string.
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// Treat the user id as a JSON string even if it is a whole number.
    #[arg(long)]
    pub string: bool,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Flags of both subcommands.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    #[command(flatten)]
    pub token: AdminTokenArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs `sundown sessions`.
///
/// # Errors
/// If no session is found, or the trackers cannot be located.
pub fn run(command: &SessionsCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        SessionsCommand::Get(args) => runtime.block_on(get(args, global)),
        SessionsCommand::List(args) => runtime.block_on(list(args, global)),
    }
}

async fn get(args: &GetSessionArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let query = LookupQuery {
        session: Some(args.session.clone()),
        ..LookupQuery::default()
    };
    let found = find(&query, &args.common, global).await?;
    let state = match (found.sessions.first(), found.latest_ending()) {
        (Some(session), _) => SessionState::Live(session),
        (None, Some(ended)) => SessionState::Ended(ended),
        (None, None) => bail!(not_found(
            &format!("no session '{}' is known", args.session),
            "it has no events, or it ended longer ago than trackers remember (--remember-endings); check the id",
            &found.gaps
        )),
    };
    for gap in &found.gaps {
        if matches!(state, SessionState::Ended(_)) {
            output::note(format_args!("The session may be live: {gap}."));
        }
    }
    print(&state, args.common.output, |state| match state {
        SessionState::Live(session) => sessions_table(std::slice::from_ref(*session)),
        SessionState::Ended(ended) => ended_table(ended),
    })
}

/// What trackers know of a session.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum SessionState<'a> {
    Live(&'a FoundSession),
    Ended(&'a EndedSession),
}

async fn list(args: &ListSessionsArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let query = LookupQuery {
        user: Some(args.user.clone()),
        string: args.string,
        ..LookupQuery::default()
    };
    let found = find(&query, &args.common, global).await?;
    if found.sessions.is_empty() {
        bail!(not_found(
            &format!("no live session of user '{}'", args.user),
            "its sessions have ended or have no events; check the id, and --string for numeric ids",
            &found.gaps
        ));
    }
    print(&found, args.common.output, |found| {
        sessions_table(&found.sessions)
    })?;
    if found.more {
        output::note("More sessions match than shown.");
    }
    for gap in &found.gaps {
        output::note(format_args!("The list may be incomplete: {gap}."));
    }
    Ok(())
}

async fn find(
    query: &LookupQuery,
    args: &CommonArgs,
    global: &GlobalArgs,
) -> anyhow::Result<SearchResult> {
    let searcher = Searcher::new(args.token.read()?)?;
    let (trackers, partition_count) = locate_trackers(global).await?;
    Ok(searcher.find(query, &trackers, partition_count).await)
}

/// Returns the trackers and the number of partitions of the session event topic.
pub(super) async fn locate_trackers(
    global: &GlobalArgs,
) -> anyhow::Result<(Vec<TrackerEndpoint>, i32)> {
    let config = global.connection.client_config()?;
    let topics = global.topics.topics();
    let names = [topics.session_logs.as_str(), &topics.processes];
    let existing = require(&TopicAdmin::new(&config)?, &names).await?;
    let partition_count = existing[&topics.session_logs].partition_count();
    let trackers = crate::processes::trackers::trackers(&config, &topics.processes).await?;
    Ok((trackers, partition_count))
}

/// Formats the error of an empty result, with the trackers that did not respond.
fn not_found(nothing: &str, reason: &str, gaps: &[SearchGap]) -> String {
    if gaps.is_empty() {
        return format!("{nothing}: {reason}");
    }
    let gaps: Vec<_> = gaps.iter().map(ToString::to_string).collect();
    format!(
        "{nothing}, but not every tracker responded: {}",
        gaps.join("; ")
    )
}

fn print<T: Serialize>(
    value: &T,
    args: OutputArgs,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    match args.output {
        // serde_yaml cannot serialize raw JSON values.
        Format::Yaml => args.print(&serde_json::to_value(value)?, |_| String::new()),
        Format::Json | Format::Table => args.print(value, table),
    }
}

fn sessions_table(sessions: &[FoundSession]) -> String {
    let rows: Vec<_> = sessions.iter().map(row).collect();
    table(
        [
            "SESSION",
            "USER",
            "POLICY",
            "STARTED",
            "LAST ACTIVITY",
            "ENDS",
            "REASON",
            "PARTITION",
            "ATTRIBUTES",
        ],
        &rows,
    )
}

fn ended_table(ended: &EndedSession) -> String {
    let row = [
        ended.session_id.clone(),
        "ended".to_owned(),
        ended.reason.as_str().to_owned(),
        ended.ended_at.clone(),
        ended.partition.to_string(),
    ];
    table(["SESSION", "STATE", "REASON", "ENDED", "PARTITION"], &[row])
}

fn row(session: &FoundSession) -> [String; 9] {
    let attributes = session.attributes.iter();
    let attributes: Vec<_> = attributes
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    [
        session.session_id.clone(),
        session.user().unwrap_or_default(),
        format!("{}@{}", session.policy.name, session.policy.generation),
        session.started_at.clone(),
        session.last_activity.clone(),
        session
            .deadline
            .clone()
            .unwrap_or_else(|| "never".to_owned()),
        session.why.clone(),
        session.partition.to_string(),
        attributes.join(","),
    ]
}
