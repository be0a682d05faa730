//! `sundown partitions`: pauses and resumes partitions, and lists those that are paused.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed};
use crate::kafka::topics::{TopicAdmin, require};
use crate::output::{self, OutputArgs, table};
use crate::policy::pauses::{PausableRole, Pause, PauseWriter, Pauses, Place};

/// How long reading the topic may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do with partitions.
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

/// What `pause` takes.
#[derive(Args, Clone, Debug)]
pub struct PauseArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// Reason of the pause, shown by `list` and in the console.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// What `resume` takes.
#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub which: WhichArgs,
}

/// Which partitions.
#[derive(Args, Clone, Debug)]
pub struct WhichArgs {
    /// The role that reads the partitions.
    #[arg(value_name = "ROLE")]
    pub role: PausableRole,
    /// Partition numbers.
    #[arg(value_name = "PARTITION", required = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,
}

/// A partition that is paused.
#[derive(Debug, Serialize)]
struct Row {
    role: PausableRole,
    partition: i32,
    #[serde(flatten)]
    pause: Pause,
}

/// Runs `sundown partitions`.
///
/// # Errors
/// If there is no such partition, or Kafka cannot be asked or does not take the record.
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
        let place = Place {
            role: which.role,
            partition,
        };
        writer.write(place, pause).await?;
        let done = if pause.is_some() { "paused" } else { "resumed" };
        output::line(format!("{place} {done}"));
    }
    Ok(())
}

async fn list(args: OutputArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let pauses = read(global).await?;
    let rows = pauses.iter().map(|(place, pause)| Row {
        role: place.role,
        partition: place.partition,
        pause: pause.clone(),
    });
    let rows: Vec<Row> = rows.collect();
    let text = args.render(&rows, |rows| {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        table(["ROLE", "PARTITION", "SINCE", "BY", "REASON"], &cells)
    })?;
    output::line(text);
    Ok(())
}

fn cells(row: &Row) -> [String; 5] {
    let cells = [
        row.role.as_str().to_owned(),
        row.partition.to_string(),
        row.pause.at.clone(),
        row.pause.by.clone(),
        row.pause.reason.clone(),
    ];
    cells.map(|cell| cell.replace(char::is_control, " "))
}

async fn read(global: &GlobalArgs) -> anyhow::Result<Pauses> {
    let config = global.connection.client_config()?;
    let topic = global.topics.topics().policies;
    require(&TopicAdmin::new(&config)?, &[&topic]).await?;
    let stop = CancellationToken::new();
    let _stopped_at_the_end = stop.clone().drop_guard();
    let mut followed = TopicFeed::start(&config, &topic, stop)?;
    let mut pauses = Pauses::default();
    let read = async {
        while let Some(TopicEvent::Record(record)) = followed.recv().await {
            pauses.read(record.key.as_deref(), record.value.as_deref());
        }
    };
    timeout(PATIENCE, read).await.with_context(|| {
        let seconds = PATIENCE.as_secs();
        format!("{topic} could not be read to its end within {seconds} s: check that the brokers are up and that this user may read there")
    })?;
    Ok(pauses)
}
