//! The command line.

use clap::{Parser, Subcommand};

use crate::kafka::{ConnectionArgs, TopicArgs};
use crate::telemetry::LogArgs;

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

/// Flags that every command takes.
#[derive(clap::Args, Clone, Debug)]
pub struct GlobalArgs {
    /// How to reach Kafka.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How the topics are called.
    #[command(flatten)]
    pub topics: TopicArgs,
    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Act on sessions that are over: call webhooks, write logs.
    Handler(crate::handler::HandlerArgs),
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
    crate::telemetry::init(&cli.global.log)?;
    match &cli.command {
        Command::Handler(args) => crate::handler::command(args, &cli.global),
        Command::Completions { shell } => completions(*shell),
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "sundown", &mut std::io::stdout());
    Ok(())
}
