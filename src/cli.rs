//! The command line.

use std::pin::pin;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::commands::check::CheckArgs;
use crate::commands::dlq::DlqCommand;
use crate::commands::end::LogoutArgs;
use crate::commands::partitions::PartitionsCommand;
use crate::commands::policy::PolicyCommand;
use crate::commands::produce::ProduceArgs;
use crate::commands::sessions::SessionsCommand;
use crate::commands::topics::TopicsCommand;
use crate::console::args::ConsoleArgs;
use crate::controller::args::ControllerArgs;
use crate::demo::DemoArgs;
use crate::handler::args::HandlerArgs;
use crate::kafka::args::GlobalArgs;
use crate::session::EventKind;
use crate::tracker::args::TrackerArgs;
use crate::{console, controller, demo, handler, shutdown, telemetry, tracker};

/// How long a role may take to stop.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);

/// Ends user sessions on time: Kafka-native session lifecycle.
#[derive(Parser, Debug)]
#[command(
    name = "sundown",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// See it work: everything in one process, with made-up users and short timeouts.
    ///
    /// Needs nothing: without -b it brings a broker of its own, in memory. With -b it uses
    /// that Kafka, on topics of its own (`demo-…`, or behind your --topic-prefix).
    Demo(DemoArgs),
    /// Work out when sessions are over, and write their terminal events.
    Tracker(Box<TrackerArgs>),
    /// Write session events: of made-up users, or from a file.
    Produce(ProduceArgs),
    /// End sessions because the user left.
    Logout(LogoutArgs),
    /// End sessions because an administrator says so.
    Revoke(LogoutArgs),
    /// Act on sessions that are over: call webhooks, write logs.
    Handler(HandlerArgs),
    /// Show what goes on, in a browser.
    Console(ConsoleArgs),
    /// Send a session through and see it end.
    Check(CheckArgs),
    /// Bring session policies from Kubernetes to the trackers, and measure the lag.
    Controller(Box<ControllerArgs>),
    /// Create, reset, plan or describe the topics.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Show live sessions: when they end, and why.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// List, show, retry or discard dead letters.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Pause and resume partitions, and list those that are paused.
    #[command(subcommand)]
    Partitions(PartitionsCommand),
    /// Write, show, check or try out session policies, without Kubernetes.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the CustomResourceDefinition of session policies, for kubectl apply -f -.
    Crd,
    /// Print the JSON Schema of session events, terminal events, warnings or policies.
    Schema {
        /// Of what.
        subject: crate::commands::schema::Subject,
    },
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command.
///
/// # Errors
/// Whatever made the command fail, with the remedy where one is known.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    let log = match cli.command {
        Command::Demo(_) => demo::LOG,
        _ => telemetry::DEFAULT_LOG,
    };
    telemetry::init(&cli.global.log, log)?;
    match &cli.command {
        Command::Demo(args) => demo::run(args, &cli.global),
        Command::Tracker(args) => serve(&cli.global, async |stop| {
            tracker::run(&cli.global, args, stop).await
        }),
        Command::Produce(args) => crate::commands::produce::run(args, &cli.global),
        Command::Logout(args) => crate::commands::end::run(EventKind::Logout, args, &cli.global),
        Command::Revoke(args) => crate::commands::end::run(EventKind::Revoke, args, &cli.global),
        Command::Sessions(command) => crate::commands::sessions::run(command, &cli.global),
        Command::Dlq(command) => crate::commands::dlq::run(command, &cli.global),
        Command::Handler(args) => serve(&cli.global, async |stop| {
            handler::run(&cli.global, args, stop).await
        }),
        Command::Console(args) => serve(&cli.global, async |stop| {
            console::run(&cli.global, args, stop).await
        }),
        Command::Check(args) => crate::commands::check::run(args, &cli.global),
        Command::Controller(args) => serve(&cli.global, async |stop| {
            controller::run(&cli.global, args, stop).await
        }),
        Command::Topics(command) => crate::commands::topics::run(command, &cli.global),
        Command::Partitions(command) => crate::commands::partitions::run(command, &cli.global),
        Command::Policy(command) => crate::commands::policy::run(command, &cli.global),
        Command::Crd => crate::policy::crd::definition::run(),
        Command::Schema { subject } => {
            crate::commands::schema::run(*subject);
            Ok(())
        }
        Command::Completions { shell } => completions(*shell),
    }
}

/// Runs a role until the process is asked to stop; has it start over, in the process, when
/// the files with its credentials have changed.
fn serve(
    global: &GlobalArgs,
    role: impl AsyncFn(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(async {
        let stop = shutdown::on_signal()?;
        let credentials = global.connection.credential_files();
        while !stop.is_cancelled() {
            let round = stop.child_token();
            let mut running = pin!(role(round.clone()));
            tokio::select! {
                outcome = &mut running => return outcome,
                overdue = overdue(&stop) => return overdue,
                () = credentials.changed() => {}
            }
            tracing::info!("credentials have changed: connecting anew");
            round.cancel();
            tokio::select! {
                outcome = running => outcome?,
                overdue = overdue(&stop) => return overdue,
            }
        }
        Ok(())
    });
    // A question that no broker answers must not hold the process up.
    runtime.shutdown_background();
    outcome
}

/// Fails once the role has had its time to stop. A client that waits for brokers that do not
/// answer, to leave its group say, would take a quarter of a minute.
async fn overdue(stop: &CancellationToken) -> anyhow::Result<()> {
    stop.cancelled().await;
    tokio::time::sleep(STOP_WITHIN).await;
    anyhow::bail!(
        "not stopped within {} s, because Kafka does not answer in time; leaving all the same: \
         what was not committed is done again by whoever takes over",
        STOP_WITHIN.as_secs_f32()
    );
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "sundown", &mut std::io::stdout());
    Ok(())
}
