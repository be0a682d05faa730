//! `sundown topics`: creates, resets, plans and describes the topics of an installation.

mod describe;
mod report;

use std::io::{IsTerminal, stdin};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{
    Action, ExistingTopics, Layout, Step, TopicAdmin, TopicState, catalogue, plan,
};
use crate::output::{self, OutputArgs, table};
use report::Tense;

/// What to do with the topics.
#[derive(Subcommand, Debug)]
pub enum TopicsCommand {
    /// Create the topics that are missing, and wait until they can be used.
    ///
    /// Topics that exist are left as they are; where they differ from what Sundown
    /// needs, the result says how.
    Create(LayoutArgs),
    /// Delete the topics with everything in them, and create them anew.
    ///
    /// Stop trackers, handlers and applications first: what they write in between is
    /// lost, or an error.
    Reset(ResetArgs),
    /// Show what `create` would do and how existing topics differ from what Sundown
    /// needs; changes nothing.
    Plan(LayoutArgs),
    /// Show partitions, replicas, configuration and offsets.
    Describe(OutputArgs),
}

/// How topics are laid out.
#[derive(Args, Clone, Debug)]
pub struct LayoutArgs {
    /// Partitions of each topic (policies and process reports always have one). Without
    /// it, as many as the topic of session events has, or 3 if there is none yet.
    #[arg(long, env = "SUNDOWN_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Option<i32>,

    /// Replicas of each partition; without it, the brokers' default.
    #[arg(long, env = "SUNDOWN_REPLICATION_FACTOR", value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    pub replication_factor: Option<i32>,

    /// In which form to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `reset` takes.
#[derive(Args, Clone, Debug)]
pub struct ResetArgs {
    /// Do not ask.
    #[arg(short, long, env = "SUNDOWN_YES")]
    pub yes: bool,

    /// How the new topics are laid out.
    #[command(flatten)]
    pub layout: LayoutArgs,
}

/// Runs `sundown topics`.
///
/// # Errors
/// If the cluster cannot be reached or refuses, or a reset is not confirmed.
pub fn run(command: &TopicsCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    let admin = TopicAdmin::new(&global.connection.client_config()?)?;
    let topics = global.topics.topics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        match command {
            TopicsCommand::Create(args) => create(&admin, &topics, args).await,
            TopicsCommand::Reset(args) => reset(&admin, &topics, args).await,
            TopicsCommand::Plan(args) => show_plan(&admin, &topics, args).await,
            TopicsCommand::Describe(output) => describe::run(&admin, &topics, *output).await,
        }
    })
}

async fn create(admin: &TopicAdmin, topics: &Topics, args: &LayoutArgs) -> anyhow::Result<()> {
    let existing = admin.existing(&topics.all()).await?;
    let steps = steps(topics, &existing, args);
    carry_out(admin, &steps, args).await?;
    report::print(&steps, Tense::Done, args.output)
}

async fn reset(admin: &TopicAdmin, topics: &Topics, args: &ResetArgs) -> anyhow::Result<()> {
    if !args.yes && !stdin().is_terminal() {
        bail!(
            "topics reset deletes topics and there is no terminal to ask on; pass --yes if that is what you want"
        );
    }
    let existing = admin.existing(&topics.all()).await?;
    if let Some(replicas) = args.layout.replication_factor {
        admin.require_brokers(replicas).await?;
    }
    if !args.yes && !existing.is_empty() {
        confirm(&existing)?;
    }
    let layout = Layout::beside(&existing, topics, args.layout.partitions);
    let layout = Layout::new(Some(layout.partitions));
    let doomed: Vec<_> = existing.keys().map(String::as_str).collect();
    admin.delete(&doomed).await?;
    let steps = plan(catalogue(topics, layout), &ExistingTopics::new(), None);
    carry_out(admin, &steps, &args.layout).await?;
    report::print(&steps, Tense::Done, args.layout.output)
}

async fn show_plan(admin: &TopicAdmin, topics: &Topics, args: &LayoutArgs) -> anyhow::Result<()> {
    let existing = admin.existing(&topics.all()).await?;
    report::print(&steps(topics, &existing, args), Tense::Planned, args.output)
}

fn steps(topics: &Topics, existing: &ExistingTopics, args: &LayoutArgs) -> Vec<Step> {
    let layout = Layout::beside(existing, topics, args.partitions);
    plan(catalogue(topics, layout), existing, args.replication_factor)
}

async fn carry_out(admin: &TopicAdmin, steps: &[Step], args: &LayoutArgs) -> anyhow::Result<()> {
    let missing = steps.iter().filter(|step| step.action == Action::Create);
    let missing: Vec<_> = missing.map(|step| &step.spec).collect();
    let replication = args.replication_factor.unwrap_or(-1);
    Ok(admin.create(&missing, replication).await?)
}

fn confirm(existing: &ExistingTopics) -> anyhow::Result<()> {
    output::note("These topics will be deleted, with everything in them:");
    let row =
        |(name, topic): (&String, &TopicState)| [name.clone(), topic.partition_count().to_string()];
    let rows: Vec<_> = existing.iter().map(row).collect();
    output::note(table(["TOPIC", "PARTITIONS"], &rows));
    output::note("Delete them and create them anew? [y/N]");
    let mut answer = String::new();
    stdin()
        .read_line(&mut answer)
        .context("the answer cannot be read; pass --yes instead")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("not confirmed: nothing was changed"),
    }
}
