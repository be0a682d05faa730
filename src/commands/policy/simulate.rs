//! `sundown policy simulate`.

mod replay;
mod report;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use tokio::runtime::Runtime;

use super::input::{self, FileArgs};
use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, Format, OutputArgs};
use crate::policy::store::Store;
use crate::policy::topic::PolicyState;
use crate::policy::yaml::Checked;
use crate::session::{Policy, PolicySet, Span, TableConfig, Timestamp};
use crate::wire::{duration, time};
use replay::Replay;
use source::Source;

/// What to try out, on what.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Where the policies are that are tried out.
    #[command(flatten)]
    pub policies: FileArgs,

    /// As if these were the only policies; otherwise, as if they were applied: together
    /// with those present policies that have other names.
    #[arg(long, env = "SUNDOWN_ONLY")]
    pub only: bool,

    /// What to compare with: `topic`, the policies in force; `built-in`, the timeouts
    /// below alone; or a YAML file of policies.
    #[arg(
        long,
        env = "SUNDOWN_PRESENT",
        value_name = "SOURCE",
        default_value = "topic"
    )]
    pub present: String,

    /// Replay the session events of this file, one JSON object a line, as produce --from
    /// writes them; - for standard input. It may be in any order of sessions, each event
    /// counting as if written when it happened.
    #[arg(
        long,
        env = "SUNDOWN_FROM",
        value_name = "FILE",
        conflicts_with = "topic"
    )]
    pub from: Option<PathBuf>,

    /// Replay the topic of session events from its beginning to its present end; the
    /// default.
    #[arg(long, env = "SUNDOWN_TOPIC")]
    pub topic: bool,

    /// The moment to stop at: now, or a time in RFC 3339. Later events are left out;
    /// sessions that would not be over by then are still live.
    #[arg(
        long,
        env = "SUNDOWN_UNTIL",
        value_name = "TIME",
        default_value = "now"
    )]
    pub until: String,

    /// How many of the sessions that end differently are listed.
    #[arg(long, env = "SUNDOWN_LIMIT", value_name = "N", default_value_t = 20)]
    pub limit: usize,

    /// The trackers' --idle-timeout, for sessions that no policy matches.
    #[arg(long, env = "SUNDOWN_IDLE_TIMEOUT", default_value = "1h", value_name = "DURATION", value_parser = duration::parse)]
    pub idle_timeout: Span,

    /// The trackers' --absolute-timeout.
    #[arg(long, env = "SUNDOWN_ABSOLUTE_TIMEOUT", value_name = "DURATION", value_parser = duration::parse)]
    pub absolute_timeout: Option<Span>,

    /// The trackers' --allowed-lateness.
    #[arg(long, env = "SUNDOWN_ALLOWED_LATENESS", default_value = "5s", value_name = "DURATION", value_parser = duration::parse)]
    pub allowed_lateness: Span,

    /// The trackers' --max-future-skew.
    #[arg(long, env = "SUNDOWN_MAX_FUTURE_SKEW", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub max_future_skew: Span,

    /// The most sessions that a partition may hold: bounds the memory that this takes.
    #[arg(
        long,
        env = "SUNDOWN_MAX_SESSIONS",
        default_value_t = 10_000_000,
        value_name = "N"
    )]
    pub max_sessions: usize,

    /// In which form to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

pub(super) fn run(
    args: &SimulateArgs,
    global: &GlobalArgs,
    runtime: &Runtime,
) -> anyhow::Result<()> {
    if args.output.output == Format::Yaml {
        bail!("simulate prints a table or JSON: pass -o table or -o json");
    }
    let until = until(&args.until)?;
    let tried = input::read_valid(&args.policies.filename)?;
    let present = present(args, global, runtime)?;
    let fallback = Policy::built_in(args.idle_timeout, args.absolute_timeout);
    let simulated = together(tried, if args.only { &[] } else { &present });
    let mut replay = Replay::new(
        Arc::new(PolicySet::new(simulated, fallback.clone())?),
        Arc::new(PolicySet::new(present, fallback)?),
        TableConfig {
            allowed_lateness: args.allowed_lateness,
            max_future_skew: args.max_future_skew,
            // Nothing is checkpointed.
            slack: duration::LONGEST,
            max_sessions: args.max_sessions,
            hash_key: uuid::Uuid::new_v4().as_u64_pair(),
        },
        until,
        args.limit,
    );
    let source = match &args.from {
        Some(path) => Source::lines(path)?,
        None => Source::topic(global, runtime)?,
    };
    source.feed(&mut replay)?;
    let report = replay.finish();
    output::line(args.output.render(&report, report::human)?);
    Ok(())
}

fn until(text: &str) -> anyhow::Result<Timestamp> {
    if text == "now" {
        return Ok(Clock::default().wall());
    }
    let Some(until) = time::parse(text) else {
        bail!("--until '{text}' is no time: write now, or RFC 3339 as in 2025-02-07T12:00:00Z");
    };
    Ok(until)
}

/// The policies to compare with.
fn present(
    args: &SimulateArgs,
    global: &GlobalArgs,
    runtime: &Runtime,
) -> anyhow::Result<Vec<Policy>> {
    match args.present.as_str() {
        "built-in" => Ok(Vec::new()),
        "topic" => {
            let book: PolicyState = runtime.block_on(Store::new(global)?.read())?;
            Ok(book.policies().cloned().collect())
        }
        file => {
            let policies = input::read_valid(&[file.into()])?;
            Ok(policies.into_iter().map(|(_, policy)| policy).collect())
        }
    }
}

/// What would be in force if `tried` were applied where `present` is.
fn together(tried: Vec<Checked>, present: &[Policy]) -> Vec<Policy> {
    let tried: Vec<Policy> = tried.into_iter().map(|(_, policy)| policy).collect();
    let others = present
        .iter()
        .filter(|policy| tried.iter().all(|new| new.name != policy.name));
    let others: Vec<_> = others.cloned().collect();
    tried.into_iter().chain(others).collect()
}
