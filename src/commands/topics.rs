//! `sundown topics`: creates, resets, plans and describes the topics of an installation.

mod describe;
mod grow;
mod report;

use std::io::{IsTerminal, stdin};

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{
    ExistingTopics, Layout, PlannedTopic, TopicAction, TopicAdmin, TopicState, catalogue, plan,
};
use crate::output::{self, OutputArgs, table};
use grow::GrowArgs;
use report::PlanState;

/// Subcommands of `sundown topics`.
#[derive(Subcommand, Debug)]
pub enum TopicsCommand {
    /// Create missing topics and wait until they are usable.
    ///
    /// Existing topics are not changed; the output lists how they differ from the
    /// requirements.
    Create(LayoutArgs),
    /// Delete all topics with their records, and create them again.
    ///
    /// Stop trackers, handlers and applications first: records that they write meanwhile
    /// are lost or rejected.
    Reset(ResetArgs),
    /// Add partitions to the topics of session events and checkpoints, while everything runs.
    ///
    /// Sessions stay on the partitions that they are on. Trackers forward events from the added
    /// partitions.
    Grow(GrowArgs),
    /// Show which topics `create` would create and how existing topics differ from the
    /// requirements, without changing anything.
    Plan(LayoutArgs),
    /// Show partitions, replicas, configuration and offsets.
    Describe(OutputArgs),
}

/// Layout and output flags.
#[derive(Args, Clone, Debug)]
pub struct LayoutArgs {
    /// Partitions per topic; the topics of policies and process reports always have one.
    /// Defaults to the partitions of the existing topic of session events, or 3.
    #[arg(long, env = "SUNDOWN_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Option<i32>,

    /// Replicas per partition. Defaults to the brokers' default.
    #[arg(long, env = "SUNDOWN_REPLICATION_FACTOR", value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    pub replication_factor: Option<i32>,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of `sundown topics reset`.
#[derive(Args, Clone, Debug)]
pub struct ResetArgs {
    /// Skip the confirmation prompt.
    #[arg(short, long, env = "SUNDOWN_YES")]
    pub yes: bool,

    #[command(flatten)]
    pub layout: LayoutArgs,
}

/// Runs `sundown topics`.
///
/// # Errors
/// If the cluster is unreachable or rejects a request, or a reset is not confirmed.
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
            TopicsCommand::Grow(args) => grow::run(&admin, &topics, args).await,
            TopicsCommand::Plan(args) => show_plan(&admin, &topics, args).await,
            TopicsCommand::Describe(output) => describe::run(&admin, &topics, *output).await,
        }
    })
}

async fn create(admin: &TopicAdmin, topics: &Topics, args: &LayoutArgs) -> anyhow::Result<()> {
    let existing = admin.existing(&topics.all()).await?;
    let steps = steps(topics, &existing, args);
    execute(admin, &steps, args).await?;
    report::print(&steps, PlanState::Executed, args.output)
}

async fn reset(admin: &TopicAdmin, topics: &Topics, args: &ResetArgs) -> anyhow::Result<()> {
    if !args.yes && !stdin().is_terminal() {
        bail!(
            "topics reset deletes topics and cannot prompt without a terminal; pass --yes to confirm"
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
    let names: Vec<_> = existing.keys().map(String::as_str).collect();
    admin.delete(&names).await?;
    let steps = plan(catalogue(topics, layout), &ExistingTopics::new(), None);
    execute(admin, &steps, &args.layout).await?;
    report::print(&steps, PlanState::Executed, args.layout.output)
}

async fn show_plan(admin: &TopicAdmin, topics: &Topics, args: &LayoutArgs) -> anyhow::Result<()> {
    let existing = admin.existing(&topics.all()).await?;
    report::print(
        &steps(topics, &existing, args),
        PlanState::Planned,
        args.output,
    )
}

fn steps(topics: &Topics, existing: &ExistingTopics, args: &LayoutArgs) -> Vec<PlannedTopic> {
    let layout = Layout::beside(existing, topics, args.partitions);
    plan(catalogue(topics, layout), existing, args.replication_factor)
}

async fn execute(
    admin: &TopicAdmin,
    steps: &[PlannedTopic],
    args: &LayoutArgs,
) -> anyhow::Result<()> {
    let missing = steps
        .iter()
        .filter(|step| step.action == TopicAction::Create);
    let missing: Vec<_> = missing.map(|step| &step.spec).collect();
    let replication = args.replication_factor.unwrap_or(-1);
    Ok(admin.create(&missing, replication).await?)
}

fn confirm(existing: &ExistingTopics) -> anyhow::Result<()> {
    output::note("These topics will be deleted with all their records:");
    let row =
        |(name, topic): (&String, &TopicState)| [name.clone(), topic.partition_count().to_string()];
    let rows: Vec<_> = existing.iter().map(row).collect();
    output::note(table(["TOPIC", "PARTITIONS"], &rows));
    output::confirm("Delete and recreate them?", "no topic was changed")
}
