//! `sundown demo`: all roles in one process, with synthetic users and short timeouts.

mod access_log;
mod applications;
mod cluster;
mod narrator;
mod observer;
pub mod pace;
pub mod population;
pub mod synthetic;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, FromArgMatches};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::console::Console;
use crate::console::args::ConsoleArgs;
use crate::demo::pace::Pace;
use crate::demo::population::{MAX_LATENESS, Population};
use crate::handler::args::HandlerArgs;
use crate::http::token::Token;
use crate::ingest::args::IngestArgs;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::Layout;
use crate::output;
use crate::session::Span;
use crate::source::topic::PublishedSources;
use crate::tracker::args::TrackerArgs;
use crate::wire::duration;
use crate::{handler, ingest, shutdown, tracker};
use applications::Applications;
use cluster::DemoCluster;
use narrator::Narrator;
use observer::Observer;

/// The demo's default log filter: its own narration replaces the roles' info logs. The embedded broker has
/// no topic settings to check and no clock of its own, so warnings about these are left out.
pub const DEFAULT_LOG: &str = "warn,audit=info,librdkafka=error,sundown::kafka::topics::require=error,\
    sundown::tracker::kafka::io=error";

/// Interval between status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// The longest wait for a record before checking for the end.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Flags of `sundown demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Number of synthetic users.
    #[arg(long, env = "SUNDOWN_USERS", value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: u32,

    /// Session events per second.
    #[arg(long, env = "SUNDOWN_RATE", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,

    /// Idle timeout of sessions.
    #[arg(long, env = "SUNDOWN_IDLE_TIMEOUT", value_name = "DURATION", default_value = "8s", value_parser = duration::parse)]
    pub idle_timeout: Span,

    /// Absolute timeout of sessions.
    #[arg(long, env = "SUNDOWN_ABSOLUTE_TIMEOUT", value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    pub absolute_timeout: Span,

    /// Number of trackers.
    #[arg(long, env = "SUNDOWN_TRACKERS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub trackers: u8,

    /// Partitions per topic; the upper limit of trackers that share the work.
    #[arg(long, env = "SUNDOWN_PARTITIONS", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub partitions: i32,

    /// Listen address of the console. If it is taken, the console uses a free local port.
    #[arg(
        long,
        env = "SUNDOWN_CONSOLE_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9292"
    )]
    pub console_listen: String,

    /// Stop after this duration, such as 90s or 1h30m. Without it, run until Ctrl-C.
    #[arg(long, env = "SUNDOWN_DURATION", value_name = "DURATION", value_parser = duration::parse)]
    pub duration: Option<Span>,

    /// Seed of the synthetic users; the same seed reproduces their actions. Random by
    /// default.
    #[arg(long, env = "SUNDOWN_SEED", value_name = "N")]
    pub seed: Option<u64>,
}

/// Runs the demo until Ctrl-C or its time is up.
///
/// # Errors
/// The failure of a role or of the synthetic users.
pub fn run(args: &DemoArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run_demo(args, global))
}

async fn run_demo(args: &DemoArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    let clock = Clock::default();
    let console_args: ConsoleArgs = parse(&["--listen", &args.console_listen].map(str::to_owned))?;
    let console = Console::bind_or_any_port(&console_args).await?;
    output::line(format_args!("Console at {}", console.url()));
    let token = Token::random();
    output::line(format_args!(
        "To end sessions from the console, log in with the token {}",
        token.secret()
    ));
    let console = console.with_token(token, console_args.login_idle_timeout);
    let cluster = DemoCluster::start(global, Layout::new(Some(args.partitions))).await?;
    apply_source(&cluster).await?;
    let flags = tracker_flags(args, &cluster);
    print_introduction(args, &cluster, &flags);

    let observer = Observer::new(&cluster.global).await?;
    let done = CancellationToken::new();
    let narration = {
        let done = done.clone();
        tokio::task::spawn_blocking(move || narrate(&observer, clock, &done))
    };
    let mut roles = spawn_roles(args, &cluster, &flags, &stop)?;
    let (console_global, console_stop) = (cluster.global.clone(), stop.clone());
    roles.spawn(async move {
        let result = console
            .serve(&console_global, &console_args, console_stop)
            .await;
        result.context("the demo's console failed")
    });
    let result = wait_for_end(roles, args.duration, &stop).await;
    done.cancel();
    let narrator = narration.await?;
    result?;
    output::line(narrator.summary(clock.elapsed()));
    Ok(())
}

/// Publishes the source of the website's access log.
async fn apply_source(cluster: &DemoCluster) -> anyhow::Result<()> {
    let source = access_log::source(&cluster.global.topics.topic_prefix)?;
    let published = PublishedSources::new(&cluster.global)?;
    let sources = [(source.metadata.name.as_str(), Some(&source))];
    published.write(sources).await
}

/// Returns the flags of the demo's trackers.
fn tracker_flags(args: &DemoArgs, cluster: &DemoCluster) -> Vec<String> {
    let flags = format!(
        "--idle-timeout {} --absolute-timeout {} --allowed-lateness {MAX_LATENESS} {}",
        args.idle_timeout,
        args.absolute_timeout,
        cluster.guarantees()
    );
    flags.split(' ').map(str::to_owned).collect()
}

fn print_introduction(args: &DemoArgs, cluster: &DemoCluster, tracker_flags: &[String]) {
    let program = std::env::args().next().unwrap_or("sundown".into());
    let (flags, tracker_flags) = (cluster.flags(), tracker_flags.join(" "));
    let bootstrap = cluster.global.connection.bootstrap_servers();
    output::line(if cluster.is_embedded() {
        format!(
            "Kafka at {bootstrap}: embedded, in memory, without transactions; delivery is at-least-once"
        )
    } else {
        format!("Kafka at {bootstrap}; delivery is exactly-once")
    });
    output::line(format_args!(
        "{} users, {} events per second; sessions end {} after the last activity, {} after the start, or at a logout",
        args.users, args.rate, args.idle_timeout, args.absolute_timeout
    ));
    let website = access_log::topic(&cluster.global.topics.topic_prefix);
    output::line(format_args!(
        "A website writes an access log to the topic {website}; a source maps its lines to session events"
    ));
    output::line("In a second terminal, start another tracker to see a rebalance:");
    output::line(format_args!("  {program} tracker {flags} {tracker_flags}"));
    output::line("or log a user out:");
    output::line(format_args!("  {program} logout {flags} --user 1003"));
    output::line("Press Ctrl-C to end the demo.\n");
}

/// Starts the synthetic users, the trackers, the handler and ingest.
fn spawn_roles(
    args: &DemoArgs,
    cluster: &DemoCluster,
    tracker_flags: &[String],
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let global = &cluster.global;
    let mut roles = JoinSet::new();
    let tracker_args: TrackerArgs = parse(tracker_flags)?;
    for _ in 0..args.trackers {
        let (global, args, stop) = (global.clone(), tracker_args.clone(), stop.clone());
        roles.spawn(async move {
            let result = tracker::run(&global, &args, stop).await;
            result.context("a demo tracker failed")
        });
    }
    let handler_args: HandlerArgs = parse(&[])?;
    let (handler_global, handler_stop) = (global.clone(), stop.clone());
    roles.spawn(async move {
        let result = handler::run(&handler_global, &handler_args, handler_stop).await;
        result.context("the demo's handler failed")
    });
    let flags: Vec<_> = cluster.guarantees().split(' ').map(str::to_owned).collect();
    let ingest_args: IngestArgs = parse(&flags)?;
    let (ingest_global, ingest_stop) = (global.clone(), stop.clone());
    // The compiler cannot prove that its future is `Send`.
    roles.spawn_blocking(move || {
        let ingest = ingest::run(&ingest_global, &ingest_args, ingest_stop);
        let result = Handle::current().block_on(ingest);
        result.context("the demo's ingest failed")
    });
    let applications = Applications::new(cluster)?;
    let population = Population::new(args.users, args.seed.unwrap_or_else(rand::random));
    let (pace, stop) = (Pace::new(args.rate), stop.clone());
    roles.spawn_blocking(move || applications.run(population, pace, &stop));
    Ok(roles)
}

/// Waits for Ctrl-C, the end of the duration or the failure of a role; then stops all roles
/// and waits for them.
async fn wait_for_end(
    mut roles: JoinSet<anyhow::Result<()>>,
    duration: Option<Span>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let timer = async {
        match duration {
            Some(span) => {
                tokio::time::sleep(Duration::from_millis(span.as_millis().cast_unsigned())).await;
            }
            None => std::future::pending().await,
        }
    };
    let mut result = Ok(());
    tokio::select! {
        () = stop.cancelled() => {}
        () = timer => {}
        Some(ended) = roles.join_next() => result = ended?,
    }
    stop.cancel();
    while let Some(ended) = roles.join_next().await {
        result = result.and(ended?);
    }
    result
}

/// Prints the observed events until `done`.
fn narrate(observer: &Observer, clock: Clock, done: &CancellationToken) -> Narrator {
    let mut narrator = Narrator::default();
    let mut next_status = STATUS_INTERVAL;
    while !done.is_cancelled() {
        if let Some(line) = observer.observe(MAX_WAIT, &mut narrator) {
            print_with_time(clock, &line);
        }
        if clock.elapsed() >= next_status {
            next_status += STATUS_INTERVAL;
            print_with_time(clock, &narrator.status());
        }
    }
    narrator
}

fn print_with_time(clock: Clock, line: &str) {
    let time = crate::wire::time::format(clock.wall());
    // The time of day in 2025-02-07T12:00:00.000Z.
    output::line(format_args!("{}  {line}", &time[11..19]));
}

/// Parses the flags of a role like its command.
fn parse<T: Args + FromArgMatches>(flags: &[String]) -> anyhow::Result<T> {
    // The roles of one process cannot share an admin port set in the environment.
    let admin = ["--admin-listen", "127.0.0.1:0"].map(str::to_owned);
    let command = T::augment_args(clap::Command::new("demo").no_binary_name(true));
    let matches = command.try_get_matches_from(flags.iter().chain(&admin))?;
    Ok(T::from_arg_matches(&matches)?)
}
