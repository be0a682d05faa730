//! `sundown produce`: writes session events of synthetic users or from a file.

pub mod filler;
mod job;
pub mod lines;
mod source;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::clock::Clock;
use crate::demo::pace::Pace;
use crate::demo::population::Population;
use crate::kafka::args::GlobalArgs;
use crate::kafka::event_writer::EventWriter;
use crate::kafka::topics::{TopicAdmin, require};
use crate::output;
use crate::session::Span;
use crate::shutdown;
use crate::wire::duration;
use filler::Filler;
use job::ProduceJob;
use lines::LineReader;
use source::EventSource;

/// The default rate of synthetic users, in events per second.
const DEFAULT_RATE: u32 = 100;

/// Flags of `sundown produce`.
#[derive(Args, Clone, Debug)]
pub struct ProduceArgs {
    /// Events per second; 0 for no limit. Defaults to 100, and to 0 with --from or
    /// --events-per-session.
    #[arg(long, env = "SUNDOWN_RATE", value_name = "N")]
    pub rate: Option<u32>,

    /// Number of synthetic users. At a given rate, fewer users are more active each.
    #[arg(long, env = "SUNDOWN_USERS", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: u32,

    /// Stop after this duration, such as 90s or 1h30m. Without it, run until Ctrl-C.
    #[arg(long, env = "SUNDOWN_DURATION", value_name = "DURATION", value_parser = duration::parse)]
    pub duration: Option<Span>,

    /// Stop after this number of events.
    #[arg(long, env = "SUNDOWN_EVENTS", value_name = "N")]
    pub events: Option<u64>,

    /// Write exactly this number of activity events per session, interleaved at random
    /// across users, without logins and logouts. Use it to fill a topic for measurements.
    #[arg(long, env = "SUNDOWN_EVENTS_PER_SESSION", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub events_per_session: Option<u32>,

    /// Seed of the synthetic users; the same seed reproduces their actions. Random by
    /// default.
    #[arg(long, env = "SUNDOWN_SEED", value_name = "N")]
    pub seed: Option<u64>,

    /// Write the session events of this file, one JSON object per line, or - for standard
    /// input. Each event goes unchanged to the partition of its session; a logout that
    /// names only a user goes to every partition.
    #[arg(long, env = "SUNDOWN_FROM", value_name = "FILE", conflicts_with_all = ["users", "seed", "events_per_session"])]
    pub from: Option<PathBuf>,

    /// With --from: also write lines that are not session events, without a key. Trackers
    /// move them to the dead-letter topic.
    #[arg(long, env = "SUNDOWN_RAW", requires = "from")]
    pub raw: bool,
}

/// Runs `sundown produce`.
///
/// # Errors
/// If the topic is missing, Kafka is unreachable or rejects the events, the file cannot be
/// read, or lines of it are rejected.
pub fn run(args: &ProduceArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let config = global.connection.producer_config()?;
    let topic = global.topics.topics().session_logs;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let source = source(args)?;
    let (stop, existing) = runtime.block_on(async {
        let stop = shutdown::on_signal()?;
        let admin = TopicAdmin::new(&config)?;
        anyhow::Ok((stop, require(&admin, &[&topic]).await?))
    })?;
    let job = ProduceJob {
        writer: EventWriter::new(config, &topic, existing[&topic].partition_count())?,
        clock: Clock::default(),
        pace: Pace::new(rate(args)),
        events: args.events,
        duration: args.duration,
        stop,
    };
    let summary = job.run(source)?;
    output::line(summary);
    anyhow::ensure!(
        summary.rejected == 0,
        "{} lines were rejected; correct them, or write them unchanged with --raw",
        summary.rejected
    );
    Ok(())
}

fn source(args: &ProduceArgs) -> anyhow::Result<EventSource> {
    if let Some(path) = &args.from {
        let lines = LineReader::open(path)
            .with_context(|| format!("cannot read {}: check --from", path.display()))?;
        let raw = args.raw;
        return Ok(EventSource::Lines { lines, raw });
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    tracing::info!(
        seed,
        users = args.users,
        "generating synthetic users; pass --seed to reproduce them"
    );
    Ok(match args.events_per_session {
        Some(per_session) => {
            EventSource::Filler(Filler::new(args.events, per_session, args.users, seed))
        }
        None => EventSource::Population(Population::new(args.users, seed)),
    })
}

fn rate(args: &ProduceArgs) -> u32 {
    let paced = args.from.is_none() && args.events_per_session.is_none();
    args.rate.unwrap_or(if paced { DEFAULT_RATE } else { 0 })
}
