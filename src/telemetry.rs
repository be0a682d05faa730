//! Logging to stderr: text on a terminal, JSON otherwise.

mod limit;
mod recent;

use std::io::{IsTerminal, stderr};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use limit::Limited;
use recent::RecentErrorsLayer;
pub use recent::{RecentError, recent_errors};

/// Logging flags.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// Log filter: a level, or directives such as `info,sundown::tracker=debug`. Defaults
    /// to info, and to warn in the demo. Session and user ids appear at debug level only, and in
    /// audit records, which are always logged.
    #[arg(long, env = "SUNDOWN_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,

    /// Log format. Defaults to text on a terminal and JSON otherwise.
    #[arg(long, env = "SUNDOWN_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// Log formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// The default log filter.
pub const DEFAULT_LOG: &str = "info";

/// Starts logging, once per process, with `default` as the filter if the flags set none.
///
/// # Errors
/// If the filter cannot be parsed.
pub fn init(args: &LogArgs, default: &str) -> anyhow::Result<()> {
    let log = args.log.as_deref().unwrap_or(default);
    // Audit records stay, whatever level is asked for.
    let filter = EnvFilter::try_new(format!("audit=info,{log}")).map_err(|error| {
        anyhow::anyhow!(
            "invalid --log '{log}': {error}; use a filter such as info or info,sundown=debug"
        )
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
        LogFormat::Text => builder
            .with_target(false)
            .map_event_format(|format| Limited::new(format, false))
            .finish()
            .with(RecentErrorsLayer)
            .try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .map_event_format(|format| Limited::new(format, true))
            .finish()
            .with(RecentErrorsLayer)
            .try_init(),
    };
    Ok(())
}
