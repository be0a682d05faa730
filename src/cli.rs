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
use crate::commands::schema::SchemaFormat;
use crate::commands::sessions::SessionsCommand;
use crate::commands::source::SourceCommand;
use crate::commands::state::StateCommand;
use crate::commands::topics::TopicsCommand;
use crate::console::args::ConsoleArgs;
use crate::controller::args::ControllerArgs;
use crate::demo::DemoArgs;
use crate::handler::args::HandlerArgs;
use crate::ingest::args::IngestArgs;
use crate::kafka::args::GlobalArgs;
use crate::session::EventKind;
use crate::tracker::args::TrackerArgs;
use crate::{console, controller, demo, handler, ingest, shutdown, telemetry, tracker};

/// The longest time that a role may take to shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(4_500);

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
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a demo: all roles in one process, with synthetic users and short timeouts.
    ///
    /// Without -b, the demo starts an embedded in-memory broker and needs nothing else.
    /// With -b, it uses that Kafka cluster, on topics of its own: prefixed `demo-`, or with
    /// --topic-prefix.
    Demo(DemoArgs),
    /// Track sessions and write a terminal event when one ends.
    Tracker(Box<TrackerArgs>),
    /// Write session events of synthetic users or from a file.
    Produce(ProduceArgs),
    /// End sessions on behalf of the user (reason `logout`).
    Logout(LogoutArgs),
    /// End sessions on behalf of an administrator (reason `revoked`).
    Revoke(LogoutArgs),
    /// Run actions on terminal events: webhooks, mails, logs.
    Handler(HandlerArgs),
    /// Bring the records of existing topics to the session event topic.
    ///
    /// Sources name the topics to read and how to map their records; test them with
    /// `sundown source test`.
    Ingest(Box<IngestArgs>),
    /// Serve the web console.
    Console(Box<ConsoleArgs>),
    /// Check an installation end to end: log a session in and out, and wait for its
    /// terminal event.
    Check(CheckArgs),
    /// Publish session policies from Kubernetes to the trackers, and measure consumer lag.
    Controller(Box<ControllerArgs>),
    /// Create, reset, plan or describe the topics.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Describe or reset the state of partitions that trackers hold.
    #[command(subcommand)]
    State(StateCommand),
    /// Show live sessions with their deadlines.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// List, show, retry or discard dead letters.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Pause, resume and list paused partitions.
    #[command(subcommand)]
    Partitions(PartitionsCommand),
    /// Apply, get, delete, validate or simulate session policies without Kubernetes.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Validate and test session sources, which map existing topics to session events.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Print the SessionPolicy and SessionSource CustomResourceDefinitions, for kubectl apply -f -.
    Crd,
    /// Print the JSON Schema of session events, terminal events, warnings or policies.
    Schema {
        /// The format to describe.
        #[arg(value_name = "FORMAT")]
        format: SchemaFormat,
    },
    /// Print a shell completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command.
///
/// # Errors
/// The failure of the command, with the remedy if one is known.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    let log = match cli.command {
        Command::Demo(_) => demo::DEFAULT_LOG,
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
        Command::Ingest(args) => serve(&cli.global, async |stop| {
            ingest::run(&cli.global, args, stop).await
        }),
        Command::Console(args) => serve(&cli.global, async |stop| {
            console::run(&cli.global, args, stop).await
        }),
        Command::Check(args) => crate::commands::check::run(args, &cli.global),
        Command::Controller(args) => serve(&cli.global, async |stop| {
            controller::run(&cli.global, args, stop).await
        }),
        Command::State(command) => crate::commands::state::run(command, &cli.global),
        Command::Topics(command) => crate::commands::topics::run(command, &cli.global),
        Command::Partitions(command) => crate::commands::partitions::run(command, &cli.global),
        Command::Policy(command) => crate::commands::policy::run(command, &cli.global),
        Command::Source(command) => crate::commands::source::run(command, &cli.global),
        Command::Crd => crate::commands::crd::run(),
        Command::Schema { format } => {
            crate::commands::schema::run(*format);
            Ok(())
        }
        Command::Completions { shell } => completions(*shell),
    }
}

/// Runs a role until the process receives a termination signal. Restarts the role within
/// the process when its credential files change.
fn serve(
    global: &GlobalArgs,
    role: impl AsyncFn(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let stop = shutdown::on_signal()?;
        let credentials = global.connection.credential_files();
        while !stop.is_cancelled() {
            let restart = stop.child_token();
            let mut running = pin!(role(restart.clone()));
            tokio::select! {
                result = &mut running => return result,
                result = shutdown_timeout(&stop) => return result,
                () = credentials.changed() => {}
            }
            tracing::info!("credential files changed; reconnecting");
            restart.cancel();
            tokio::select! {
                result = running => result?,
                result = shutdown_timeout(&stop) => return result,
            }
        }
        Ok(())
    });
    // A blocking call to an unreachable broker must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Fails [`SHUTDOWN_TIMEOUT`] after `stop`. A client that leaves its group while the brokers
/// are unreachable would block for 15 s.
async fn shutdown_timeout(stop: &CancellationToken) -> anyhow::Result<()> {
    stop.cancelled().await;
    tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    anyhow::bail!(
        "shutdown timed out after {} s because Kafka did not respond; exiting: the next owner \
         of the partitions redelivers uncommitted events",
        SHUTDOWN_TIMEOUT.as_secs_f32()
    );
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "sundown", &mut std::io::stdout());
    Ok(())
}
