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
use crate::policy::topic::PolicyTopic;
use crate::policy::yaml::ParsedPolicy;
use crate::session::{Policy, PolicySet, Span, TableConfig, Timestamp};
use crate::wire::{duration, time};
use replay::Replay;
use source::Source;

/// Flags of `sundown policy simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    #[command(flatten)]
    pub policies: FileArgs,

    /// Replay under the given policies alone, instead of adding them to the current
    /// policies as `apply` would.
    #[arg(long, env = "SUNDOWN_ONLY")]
    pub only: bool,

    /// Current policies to compare with: `topic` for the policy topic, `built-in` for the
    /// default timeouts only, or a YAML file of policies.
    #[arg(
        long,
        env = "SUNDOWN_CURRENT",
        value_name = "SOURCE",
        default_value = "topic"
    )]
    pub current: String,

    /// Replay the session events of this file, one JSON object per line, as for produce
    /// --from, or - for standard input. Each event counts as written when it happened.
    #[arg(
        long,
        env = "SUNDOWN_FROM",
        value_name = "FILE",
        conflicts_with = "topic"
    )]
    pub from: Option<PathBuf>,

    /// Replay the topic of session events from its beginning to its current end (default).
    #[arg(long, env = "SUNDOWN_TOPIC")]
    pub topic: bool,

    /// Time to stop at: now, or an RFC 3339 time. Later events are ignored; sessions that
    /// have not ended by then count as live.
    #[arg(
        long,
        env = "SUNDOWN_UNTIL",
        value_name = "TIME",
        default_value = "now"
    )]
    pub until: String,

    /// Maximum number of differing sessions to list.
    #[arg(long, env = "SUNDOWN_LIMIT", value_name = "N", default_value_t = 20)]
    pub limit: usize,

    /// --idle-timeout of the trackers, for sessions that match no policy.
    #[arg(long, env = "SUNDOWN_IDLE_TIMEOUT", default_value = "1h", value_name = "DURATION", value_parser = duration::parse)]
    pub idle_timeout: Span,

    /// --absolute-timeout of the trackers.
    #[arg(long, env = "SUNDOWN_ABSOLUTE_TIMEOUT", value_name = "DURATION", value_parser = duration::parse)]
    pub absolute_timeout: Option<Span>,

    /// --allowed-lateness of the trackers.
    #[arg(long, env = "SUNDOWN_ALLOWED_LATENESS", default_value = "5s", value_name = "DURATION", value_parser = duration::parse)]
    pub allowed_lateness: Span,

    /// --max-future-skew of the trackers.
    #[arg(long, env = "SUNDOWN_MAX_FUTURE_SKEW", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub max_future_skew: Span,

    /// --end-grace of the trackers.
    #[arg(long, env = "SUNDOWN_END_GRACE", default_value = "30s", value_name = "DURATION", value_parser = duration::parse)]
    pub end_grace: Span,

    /// --remember-endings of the trackers.
    #[arg(long, env = "SUNDOWN_REMEMBER_ENDINGS", default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub remember_endings: Span,

    /// Maximum number of live sessions per partition; bounds the memory of the replay.
    #[arg(
        long,
        env = "SUNDOWN_MAX_SESSIONS",
        default_value_t = 10_000_000,
        value_name = "N"
    )]
    pub max_sessions: usize,

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
    let current = current(args, global, runtime)?;
    let fallback = Policy::built_in(args.idle_timeout, args.absolute_timeout);
    let simulated = merge(tried, if args.only { &[] } else { &current });
    let mut replay = Replay::new(
        Arc::new(PolicySet::new(simulated, fallback.clone())?),
        Arc::new(PolicySet::new(current, fallback)?),
        TableConfig {
            allowed_lateness: args.allowed_lateness,
            max_future_skew: args.max_future_skew,
            end_grace: args.end_grace,
            remember_endings: args.remember_endings,
            // There are no checkpoints.
            slack: duration::MAX_DURATION,
            max_sessions: args.max_sessions,
            hash_key: uuid::Uuid::new_v4().as_u64_pair(),
            ..TableConfig::default()
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
        bail!(
            "--until '{text}' is not a time: pass now, or an RFC 3339 time such as 2025-02-07T12:00:00Z"
        );
    };
    Ok(until)
}

/// The current policies, to compare with.
fn current(
    args: &SimulateArgs,
    global: &GlobalArgs,
    runtime: &Runtime,
) -> anyhow::Result<Vec<Policy>> {
    match args.current.as_str() {
        "built-in" => Ok(Vec::new()),
        "topic" => {
            let store = runtime.block_on(PolicyTopic::new(global)?.read(output::note))?;
            Ok(store.policies().cloned().collect())
        }
        file => {
            let policies = input::read_valid(&[file.into()])?;
            Ok(policies.into_iter().map(|(_, policy)| policy).collect())
        }
    }
}

/// The active policies after applying `tried` to `current`.
fn merge(tried: Vec<ParsedPolicy>, current: &[Policy]) -> Vec<Policy> {
    let tried: Vec<Policy> = tried.into_iter().map(|(_, policy)| policy).collect();
    let others = current
        .iter()
        .filter(|policy| tried.iter().all(|new| new.name != policy.name));
    let others: Vec<_> = others.cloned().collect();
    tried.into_iter().chain(others).collect()
}
