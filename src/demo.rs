//! `sundown demo`: everything in one process, with short timeouts and made-up users.

mod broker;
mod observer;
pub mod pace;
pub mod population;
mod scene;
pub mod synthetic;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, FromArgMatches};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::console::Console;
use crate::console::args::ConsoleArgs;
use crate::demo::pace::Pace;
use crate::demo::population::{MAX_LATENESS, Population};
use crate::handler::args::HandlerArgs;
use crate::http::token::Token;
use crate::kafka::args::GlobalArgs;
use crate::kafka::event_writer::EventWriter;
use crate::kafka::topics::Layout;
use crate::output;
use crate::session::Span;
use crate::tracker::args::TrackerArgs;
use crate::wire::duration;
use crate::{handler, shutdown, tracker};
use broker::Broker;
use observer::Observer;
use scene::Scene;

/// The demo's default log filter: its own narration replaces the roles' info logs.
pub const DEFAULT_LOG: &str = "warn,audit=info,librdkafka=error";

/// How often to say where things stand.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How long to wait for something to happen before looking at the time.
const NAP: Duration = Duration::from_millis(100);

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
/// Whatever keeps one of its parts from running.
pub fn run(args: &DemoArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(play(args, global))
}

async fn play(args: &DemoArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    let clock = Clock::default();
    let console_args: ConsoleArgs = parse(&["--listen", &args.console_listen].map(str::to_owned))?;
    let console = Console::bind_somewhere(&console_args).await?;
    output::line(format_args!("Console at {}", console.url()));
    let token = Token::random();
    output::line(format_args!(
        "To end sessions from it, log in there with the token {}",
        token.secret()
    ));
    let console = console.with_token(token);
    let broker = Broker::start(global, Layout::new(Some(args.partitions))).await?;
    let flags = tracker_flags(args, &broker);
    introduce(args, &broker, &flags);

    let observer = Observer::new(&broker.global).await?;
    let over = CancellationToken::new();
    let narrator = {
        let over = over.clone();
        tokio::task::spawn_blocking(move || narrate(&observer, clock, &over))
    };
    let mut cast = cast(args, &broker, &flags, &stop)?;
    let (console_global, console_stop) = (broker.global.clone(), stop.clone());
    cast.spawn(async move {
        let result = console
            .serve(&console_global, &console_args, console_stop)
            .await;
        result.context("the console of the demo ended")
    });
    let result = wait_for_end(cast, args.duration, &stop).await;
    over.cancel();
    let scene = narrator.await?;
    result?;
    output::line(scene.summary(clock.elapsed()));
    Ok(())
}

/// The flags of the demo's trackers.
fn tracker_flags(args: &DemoArgs, broker: &Broker) -> Vec<String> {
    let can = if broker.is_embedded() {
        // No transactions, and no classic protocol with more than one member.
        "--delivery at-least-once --group-protocol consumer"
    } else {
        "--delivery exactly-once"
    };
    let flags = format!(
        "--idle-timeout {} --absolute-timeout {} --allowed-lateness {MAX_LATENESS} {can}",
        args.idle_timeout, args.absolute_timeout
    );
    flags.split(' ').map(str::to_owned).collect()
}

fn introduce(args: &DemoArgs, broker: &Broker, tracker_flags: &[String]) {
    let me = std::env::args().next().unwrap_or("sundown".into());
    let (flags, tracker_flags) = (broker.flags(), tracker_flags.join(" "));
    let bootstrap = broker.global.connection.bootstrap_servers();
    output::line(if broker.is_embedded() {
        format!(
            "Kafka at {bootstrap}: in this process, in memory, without transactions, so delivery is at-least-once here"
        )
    } else {
        format!("Kafka at {bootstrap}: delivery is exactly-once")
    });
    output::line(format_args!(
        "{} users, {} events a second; a session ends {} after its last activity, {} after its start, or at a logout",
        args.users, args.rate, args.idle_timeout, args.absolute_timeout
    ));
    output::line("From a second terminal, start another tracker and watch the rebalance:");
    output::line(format_args!("  {me} tracker {flags} {tracker_flags}"));
    output::line("or log out a user who is there:");
    output::line(format_args!("  {me} logout {flags} --user 1003"));
    output::line("Ctrl-C ends the demo.\n");
}

/// Starts users, trackers and the handler.
fn cast(
    args: &DemoArgs,
    broker: &Broker,
    tracker_flags: &[String],
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let global = &broker.global;
    let mut cast = JoinSet::new();
    let tracker_args: TrackerArgs = parse(tracker_flags)?;
    for _ in 0..args.trackers {
        let (global, args, stop) = (global.clone(), tracker_args.clone(), stop.clone());
        cast.spawn(async move {
            let result = tracker::run(&global, &args, stop).await;
            result.context("a tracker of the demo ended")
        });
    }
    let handler_args: HandlerArgs = parse(&[])?;
    let (handler_global, handler_stop) = (global.clone(), stop.clone());
    cast.spawn(async move {
        let result = handler::run(&handler_global, &handler_args, handler_stop).await;
        result.context("the handler of the demo ended")
    });
    let config = global.connection.producer_config()?;
    let topic = global.topics.topics().session_logs;
    let writer = EventWriter::new(config, &topic, broker.partitions)?;
    let population = Population::new(args.users, args.seed.unwrap_or_else(rand::random));
    let (pace, stop) = (Pace::new(args.rate), stop.clone());
    cast.spawn_blocking(move || users(population, pace, &writer, &stop));
    Ok(cast)
}

/// Waits until Ctrl-C, the end of the time or the failure of a part; then until all parts
/// have ended.
async fn wait_for_end(
    mut cast: JoinSet<anyhow::Result<()>>,
    duration: Option<Span>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let time_up = async {
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
        () = time_up => {}
        Some(ended) = cast.join_next() => result = ended?,
    }
    stop.cancel();
    while let Some(ended) = cast.join_next().await {
        result = result.and(ended?);
    }
    result
}

/// Lets the users do what they do, until `stop`.
fn users(
    mut population: Population,
    pace: Pace,
    writer: &EventWriter,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let clock = Clock::default();
    let mut number = 0;
    while !stop.is_cancelled() {
        let wait = pace.wait(number, clock.elapsed());
        if wait.is_zero() {
            let action = population.next(clock.wall());
            writer.send(&action.target(), &action.to_json()?)?;
            number += 1;
        }
        writer.wait(wait.min(NAP));
    }
    writer.flush()?;
    Ok(())
}

/// Tells what happens until it is `over`.
fn narrate(observer: &Observer, clock: Clock, over: &CancellationToken) -> Scene {
    let mut scene = Scene::default();
    let mut next_status = STATUS_EVERY;
    while !over.is_cancelled() {
        if let Some(line) = observer.observe(NAP, &mut scene) {
            tell(clock, &line);
        }
        if clock.elapsed() >= next_status {
            next_status += STATUS_EVERY;
            tell(clock, &scene.status());
        }
    }
    scene
}

fn tell(clock: Clock, line: &str) {
    let time = crate::wire::time::format(clock.wall());
    // Of 2025-02-07T12:00:00.000Z, the time of day.
    output::line(format_args!("{}  {line}", &time[11..19]));
}

/// A role's flags, as its own command would read them.
fn parse<T: Args + FromArgMatches>(flags: &[String]) -> anyhow::Result<T> {
    // Several roles in one process cannot share the port that the environment may name.
    let admin = ["--admin-listen", "127.0.0.1:0"].map(str::to_owned);
    let command = T::augment_args(clap::Command::new("demo").no_binary_name(true));
    let matches = command.try_get_matches_from(flags.iter().chain(&admin))?;
    Ok(T::from_arg_matches(&matches)?)
}
