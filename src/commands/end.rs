//! `sundown logout` and `sundown revoke`: end sessions immediately.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdin};

use anyhow::bail;
use clap::{ArgGroup, Args};

use super::sessions::locate_trackers;
use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::event_writer::{EventWriter, Target};
use crate::kafka::topics::{TopicAdmin, require};
use crate::output;
use crate::session::EventKind;
use crate::session_lookup::search::{Searcher, SessionCount};
use crate::session_lookup::{AdminTokenArgs, LookupQuery};
use crate::wire::event::encode::{SessionEvent, user_id};

/// Flags of `sundown logout` and `sundown revoke`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("subject").required(true).args(["session", "user", "attribute", "all"]))]
pub struct LogoutArgs {
    /// End this session, even if Sundown does not know it as live.
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,

    /// End every live session of this user. A whole number such as 123 selects the user
    /// whose events carry the JSON number 123, not the string "123"; see --string.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,

    /// Treat the user id as a JSON string even if it is a whole number.
    #[arg(long, requires = "user")]
    pub string: bool,

    /// Leave out this session of the user.
    #[arg(long, value_name = "ID", requires = "user")]
    pub except: Option<String>,

    /// End every live session with this attribute. Repeat the flag to require several
    /// attributes.
    #[arg(long, value_name = "NAME=VALUE", value_parser = attribute)]
    pub attribute: Vec<(String, String)>,

    /// End every live session.
    #[arg(long)]
    pub all: bool,

    /// Who ends the sessions; terminal events carry it.
    #[arg(long, value_name = "TEXT")]
    pub by: Option<String>,

    /// Why the sessions end; terminal events carry it.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,

    /// Skip the confirmation prompt, which shows the number of live sessions that end.
    #[arg(short, long)]
    pub yes: bool,

    #[command(flatten)]
    pub token: AdminTokenArgs,
}

/// Runs `sundown logout` or `sundown revoke`, depending on `kind`.
///
/// # Errors
/// If an id is invalid, the revocation is not confirmed, the topic is missing, or Kafka is
/// unreachable or rejects the event.
pub fn run(kind: EventKind, args: &LogoutArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Before the prompt: an invalid id is an error at once.
    Target::of(&encode(kind, args)?)?;
    if args.must_confirm() {
        let count = runtime.block_on(count(args, global))?;
        confirm(&count)?;
    }
    let value = encode(kind, args)?;
    let target = Target::of(&value)?;
    let config = global.connection.producer_config()?;
    let topic = global.topics.topics().session_logs;
    let admin = TopicAdmin::new(&config)?;
    let existing = runtime.block_on(require(&admin, &[&topic]))?;
    let partitions = existing[&topic].partition_count();
    let writer = EventWriter::new(config, &topic, partitions)?;
    writer.send(&target, &value)?;
    writer.flush()?;
    output::line(match target {
        Target::EveryPartition => format!("written to all {partitions} partitions of {topic}"),
        _ => format!("written to {topic}"),
    });
    Ok(())
}

impl LogoutArgs {
    /// Whether to ask first. Sessions of one user end without a prompt in scripts.
    fn must_confirm(&self) -> bool {
        let in_script = self.user.is_some() && !stdin().is_terminal();
        !(self.yes || self.session.is_some() || in_script)
    }

    fn attributes(&self) -> Option<BTreeMap<String, String>> {
        (self.all || !self.attribute.is_empty()).then(|| self.attribute.iter().cloned().collect())
    }
}

fn encode(kind: EventKind, args: &LogoutArgs) -> anyhow::Result<Vec<u8>> {
    let user = args.user.as_deref();
    let user = user.map(|id| user_id(id, args.string)).transpose()?;
    let attributes = args.attributes();
    let event = SessionEvent {
        user_id: user.as_deref(),
        session_id: args.session.as_deref(),
        except_session_id: args.except.as_deref(),
        matches: attributes.as_ref(),
        by: args.by.as_deref(),
        note: args.note.as_deref(),
        ..SessionEvent::new(kind, Clock::default().wall())
    };
    Ok(event.to_json()?)
}

async fn count(args: &LogoutArgs, global: &GlobalArgs) -> anyhow::Result<SessionCount> {
    let attributes = args.attributes();
    let attributes = attributes
        .map(|map| serde_json::to_string(&map))
        .transpose()?;
    let query = LookupQuery {
        user: args.user.clone(),
        string: args.string,
        except: args.except.clone(),
        attributes,
        ..LookupQuery::default()
    };
    let searcher = Searcher::new(args.token.read()?)?;
    let (trackers, partition_count) = locate_trackers(global).await?;
    Ok(searcher.count(query, &trackers, partition_count).await)
}

fn confirm(count: &SessionCount) -> anyhow::Result<()> {
    for gap in &count.gaps {
        output::note(format_args!("The count is incomplete: {gap}."));
    }
    let at_least = if count.gaps.is_empty() {
        ""
    } else {
        "at least "
    };
    let sessions = format!("live sessions that end: {at_least}{}", count.sessions);
    if !stdin().is_terminal() {
        bail!("{sessions}; there is no terminal to ask on: pass --yes to confirm");
    }
    output::confirm(
        format_args!("{sessions}. Continue?"),
        "no session was ended",
    )
}

fn attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("is not NAME=VALUE".to_owned()),
    }
}
