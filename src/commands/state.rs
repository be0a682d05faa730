//! `sundown state`: compares the trackers' committed offsets with their topics, and resets them.

mod export;
mod file;
mod import;
mod inspect;
mod reset;
mod writer;

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::kafka::args::{GlobalArgs, TrackerGroupArgs};
use crate::output::{self, OutputArgs, table};
use import::ImportArgs;
use inspect::{Inspector, PartitionReport};
use reset::ResetTarget;
use writer::StateWriter;

/// Subcommands of `sundown state`.
#[derive(Subcommand, Debug)]
pub enum StateCommand {
    /// Show whether the committed offset, the log and the checkpoint of each partition belong
    /// together, with both sides where they do not.
    ///
    /// Restores each partition as a tracker does, without changing anything.
    Describe(DescribeArgs),
    /// Decide how trackers continue on partitions that they hold.
    ///
    /// Held partitions continue within seconds. Others are reset only while no tracker runs.
    Reset(StateResetArgs),
    /// Write live sessions, remembered endings and revocations to a file.
    ///
    /// The file is a backup, or moves the sessions to another cluster: then stop the trackers first.
    Export(ExportArgs),
    /// Continue the sessions of an exported file in topics without sessions.
    ///
    /// Each partition is imported in a transaction, and an interrupted import can be repeated. The
    /// number of partitions may differ from that of the export.
    Import(ImportArgs),
}

/// Flags of `sundown state export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// File to write; `-` for standard output.
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub group: TrackerGroupArgs,
}

/// Flags of `sundown state describe`.
#[derive(Args, Clone, Debug)]
pub struct DescribeArgs {
    #[command(flatten)]
    pub group: TrackerGroupArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of `sundown state reset`.
#[derive(Args, Clone, Debug)]
pub struct StateResetArgs {
    /// Where trackers continue.
    #[arg(long, value_name = "WHERE")]
    pub to: ResetTarget,
    /// Partition to reset; can be repeated.
    #[arg(long = "partition", value_name = "N", required_unless_present = "held", value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,
    /// Reset all held partitions.
    #[arg(long, conflicts_with = "partitions")]
    pub held: bool,
    /// Skip the confirmation prompt.
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub group: TrackerGroupArgs,
}

/// Runs `sundown state`.
///
/// # Errors
/// If the brokers are unreachable, or a reset is refused or not confirmed.
pub fn run(command: &StateCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    match command {
        StateCommand::Describe(args) => describe(args, global),
        StateCommand::Reset(args) => reset(args, global),
        StateCommand::Export(args) => {
            let mut inspector = Inspector::new(global, &args.group.tracker_group)?;
            export::export(&mut inspector, &args.file)
        }
        StateCommand::Import(args) => {
            let input: Box<dyn BufRead> = if args.file == Path::new("-") {
                Box::new(stdin().lock())
            } else {
                let file = File::open(&args.file);
                let file = file.with_context(|| format!("cannot open {}", args.file.display()))?;
                Box::new(BufReader::new(file))
            };
            let mut inspector = Inspector::new(global, &args.group.tracker_group)?;
            let writer = StateWriter::new(global, &args.group.tracker_group)?;
            import::import(&mut inspector, &writer, input, args)
        }
    }
}

fn describe(args: &DescribeArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let mut inspector = Inspector::new(global, &args.group.tracker_group)?;
    let reports: anyhow::Result<Vec<_>> = inspector
        .partitions()?
        .into_iter()
        .map(|partition| inspector.inspect(partition))
        .collect();
    args.output.print(&reports?, |reports| {
        let rows: Vec<_> = reports.iter().map(PartitionReport::cells).collect();
        let header = [
            "PARTITION",
            "COMMITTED",
            "START",
            "END",
            "SESSIONS",
            "STATE",
        ];
        table(header, &rows)
    })
}

fn reset(args: &StateResetArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let mut inspector = Inspector::new(global, &args.group.tracker_group)?;
    let existing = inspector.partitions()?;
    if let Some(unknown) = args
        .partitions
        .iter()
        .find(|number| !existing.contains(number))
    {
        bail!(
            "partition {unknown} does not exist; the topic has {}",
            existing.len()
        );
    }
    let mut selected = Vec::new();
    let candidates = if args.held {
        &existing
    } else {
        &args.partitions
    };
    for &partition in candidates {
        let report = inspector.inspect(partition)?;
        if report.hold.is_some() || !args.held {
            selected.push(report);
        }
    }
    if selected.is_empty() {
        output::note("no partition is held; nothing was changed");
        return Ok(());
    }
    let consistent = selected.iter().find(|report| report.hold.is_none());
    if let Some(report) = consistent
        && inspector.has_members()?
    {
        bail!(
            "partition {} is not held and trackers run: stop them first, or they commit over the reset",
            report.partition
        );
    }
    if !args.yes {
        confirm(args.to, &selected)?;
    }
    let writer = StateWriter::new(global, &args.group.tracker_group)?;
    for report in &selected {
        let offset = reset::reset(&mut inspector, &writer, report, args.to)?;
        output::line(format!(
            "partition {} continues at offset {offset}",
            report.partition
        ));
    }
    Ok(())
}

fn confirm(to: ResetTarget, selected: &[PartitionReport]) -> anyhow::Result<()> {
    if !stdin().is_terminal() {
        bail!("state reset cannot prompt without a terminal; pass --yes to confirm");
    }
    for report in selected {
        output::note(format!(
            "partition {}: {}",
            report.partition,
            report.state()
        ));
    }
    let question = match to {
        ResetTarget::Now => "Keep their sessions as active now, and skip unread events?",
        ResetTarget::Beginning => "Forget their sessions, and read all events again?",
    };
    output::confirm(question, "nothing was changed")
}
