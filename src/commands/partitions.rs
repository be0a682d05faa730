//! `sundown partitions`: pauses, resumes and lists partitions.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, OutputArgs, table};
use crate::policy::pause_writer::PauseWriter;
use crate::policy::pauses::{PausableRole, Pause, RolePartition};
use crate::policy::topic::PolicyTopic;

/// Subcommands of `sundown partitions`.
#[derive(Subcommand, Debug)]
pub enum PartitionsCommand {
    /// Pause partitions of a role until they are resumed, across restarts and rebalances.
    ///
    /// Trackers stop reading a paused partition and end none of its sessions; handlers run
    /// no actions for it. After `resume`, overdue work is caught up.
    Pause(PauseArgs),
    /// Resume paused partitions.
    Resume(ResumeArgs),
    /// List paused partitions with the time and the reason.
    List(OutputArgs),
}

/// Flags of `sundown partitions pause`.
#[derive(Args, Clone, Debug)]
pub struct PauseArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// Reason of the pause, shown by `list` and in the console.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Flags of `sundown partitions resume`.
#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub which: WhichArgs,
}

/// The partitions to pause or resume.
#[derive(Args, Clone, Debug)]
pub struct WhichArgs {
    /// The role that reads the partitions.
    #[arg(value_name = "ROLE")]
    pub role: PausableRole,
    /// Partition numbers.
    #[arg(value_name = "PARTITION", required = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,
}

/// A paused partition.
#[derive(Debug, Serialize)]
struct PausedPartition {
    role: PausableRole,
    partition: i32,
    #[serde(flatten)]
    pause: Pause,
}

/// Runs `sundown partitions`.
///
/// # Errors
/// If a partition does not exist, or Kafka is unavailable.
pub fn run(command: &PartitionsCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        match command {
            PartitionsCommand::Pause(args) => {
                let now = Clock::default().wall();
                let pause = Pause::new(now, "command line", &args.reason);
                write(&args.which, Some(&pause), global).await
            }
            PartitionsCommand::Resume(args) => write(&args.which, None, global).await,
            PartitionsCommand::List(args) => list(*args, global).await,
        }
    })
}

async fn write(
    which: &WhichArgs,
    pause: Option<&Pause>,
    global: &GlobalArgs,
) -> anyhow::Result<()> {
    let config = global.connection.producer_config()?;
    let writer = PauseWriter::new(config, global.topics.topics())?;
    for &partition in &which.partitions {
        let partition = RolePartition {
            role: which.role,
            partition,
        };
        writer.write(partition, pause).await?;
        let done = if pause.is_some() { "paused" } else { "resumed" };
        output::line(format!("{partition} {done}"));
    }
    Ok(())
}

async fn list(args: OutputArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    // Invalid policies do not matter here.
    let store = PolicyTopic::new(global)?.read(drop).await?;
    let rows = store
        .pauses()
        .iter()
        .map(|(paused, pause)| PausedPartition {
            role: paused.role,
            partition: paused.partition,
            pause: pause.clone(),
        });
    let rows: Vec<PausedPartition> = rows.collect();
    let text = args.render(&rows, |rows| {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        table(["ROLE", "PARTITION", "SINCE", "BY", "REASON"], &cells)
    })?;
    output::line(text);
    Ok(())
}

fn cells(row: &PausedPartition) -> [String; 5] {
    let cells = [
        row.role.as_str().to_owned(),
        row.partition.to_string(),
        row.pause.at.clone(),
        row.pause.by.clone(),
        row.pause.reason.clone(),
    ];
    cells.map(|cell| cell.replace(char::is_control, " "))
}
