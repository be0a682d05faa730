//! Logs: text on a terminal, JSON otherwise, always on stderr.

mod recent;

use std::io::{IsTerminal, stderr};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use recent::Recent;
pub use recent::{RecentError, recent_errors};

/// What to log, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// What to log: a level, or directives as in `info,sundown::tracker=debug`. Without
    /// it, info; in the demo, warn. Session and user ids show at debug only.
    #[arg(long, env = "SUNDOWN_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,

    /// How to write logs; without it, text on a terminal and JSON otherwise.
    #[arg(long, env = "SUNDOWN_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged unless told otherwise.
pub const DEFAULT_LOG: &str = "info";

/// Starts logging, once per process; `default` is what to log unless told otherwise.
///
/// # Errors
/// If the filter cannot be understood.
pub fn init(args: &LogArgs, default: &str) -> anyhow::Result<()> {
    let log = args.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(log).map_err(|error| {
        anyhow::anyhow!("--log '{log}': {error}; write it like info or info,sundown=debug")
    })?;
    let terminal = stderr().is_terminal();
    let default = if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(terminal);
    // A second call in one process (tests, the demo) keeps the first one's settings.
    let _already_set = match args.log_format.unwrap_or(default) {
        LogFormat::Text => builder.with_target(false).finish().with(Recent).try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .finish()
            .with(Recent)
            .try_init(),
    };
    Ok(())
}
