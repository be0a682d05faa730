//! `sundown dlq`: lists, shows, redrives and discards dead letters.
//!
//! Kafka cannot delete single records. A redrive therefore writes a *marker* to the partition
//! of the letter: a record without a value whose header names the letter's offset. Letters
//! with a marker are not listed. A redriven letter and its marker are written in one
//! transaction, so an interruption never redrives a letter twice. Retention removes letters
//! before their markers.

mod discard;
mod list;
mod redrive;
mod show;

use clap::Subcommand;

use crate::kafka::args::GlobalArgs;
use discard::DiscardArgs;
use list::ListDeadLettersArgs;
use redrive::RedriveArgs;
use show::ShowArgs;

/// Subcommands of `sundown dlq`.
#[derive(Subcommand, Debug)]
pub enum DlqCommand {
    /// List dead letters, oldest first.
    List(ListDeadLettersArgs),
    /// Show a dead letter in full.
    Show(ShowArgs),
    /// Redrive dead letters: terminal events with their pending actions, session events from
    /// the start.
    ///
    /// The command can be interrupted and repeated at any time; no letter is redriven twice.
    Redrive(RedriveArgs),
    /// Discard dead letters: they are no longer listed, and retention deletes them.
    Discard(DiscardArgs),
}

/// Runs `sundown dlq`.
///
/// # Errors
/// If the cluster is unreachable or rejects a request, or the arguments contradict each other.
pub fn run(command: &DlqCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    match command {
        DlqCommand::List(args) => list::run(args, global),
        DlqCommand::Show(args) => show::run(args, global),
        DlqCommand::Redrive(args) => redrive::run(args, global),
        DlqCommand::Discard(args) => discard::run(args, global),
    }
}
