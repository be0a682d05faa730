//! `sundown dlq`: lists dead letters, shows one, tries them again, or lets go of them.
//!
//! Kafka deletes nothing from the middle of a topic. So whoever deals with a letter writes a
//! *marker* behind it, into the same partition: a record without a value whose header
//! `sundown-dlq-processed` names the letter's offset. A letter with a marker is no longer
//! listed. A letter that is tried again and its marker are written in one transaction: an
//! interruption leaves either both or neither, and nothing is tried twice. Retention
//! removes letters before their markers.

mod discard;
mod list;
mod retry;
mod show;

use clap::Subcommand;

use crate::kafka::args::GlobalArgs;
use discard::DiscardArgs;
use list::ListArgs;
use retry::RetryArgs;
use show::ShowArgs;

/// What to do with dead letters.
#[derive(Subcommand, Debug)]
pub enum DlqCommand {
    /// List dead letters, oldest first.
    List(ListArgs),
    /// Show a dead letter: all of it.
    Show(ShowArgs),
    /// Try dead letters again: terminal events with the actions that are undone, session
    /// events from the start.
    ///
    /// Can be interrupted at any time, and be called again: no letter is tried twice.
    Retry(RetryArgs),
    /// Let go of dead letters: they are no longer listed, and retention deletes them.
    Discard(DiscardArgs),
}

/// Runs `sundown dlq`.
///
/// # Errors
/// If the cluster cannot be reached or refuses, or the arguments contradict each other.
pub fn run(command: &DlqCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    match command {
        DlqCommand::List(args) => list::run(args, global),
        DlqCommand::Show(args) => show::run(args, global),
        DlqCommand::Retry(args) => retry::run(args, global),
        DlqCommand::Discard(args) => discard::run(args, global),
    }
}
