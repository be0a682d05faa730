//! `sundown dlq list`.

use std::ops::ControlFlow;

use clap::Args;

use crate::clock::Clock;
use crate::dead_letters::filter::FilterArgs;
use crate::dead_letters::letter::DeadLetterSummary;
use crate::dead_letters::process::ProcessSummary;
use crate::dead_letters::scan::Scan;
use crate::kafka::args::GlobalArgs;
use crate::output::{self, OutputArgs, table};

/// The default maximum number of letters.
const DEFAULT_LIMIT: usize = 100;
/// The longest error shown in a table, in characters.
const ERROR_WIDTH: usize = 60;

pub(super) fn run(args: &ListDeadLettersArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let (config, topics) = (global.connection.client_config()?, global.topics.topics());
    let now = Clock::default().wall();
    let limit = args.filter.limit.unwrap_or(DEFAULT_LIMIT);
    let (mut found, mut more) = (Vec::new(), false);
    for kind in args.filter.kinds() {
        let scan = Scan::open(&config, kind.dead_letter_topic(&topics))?;
        scan.letters(|letter| {
            if args.filter.matches(&letter, now) {
                if found.len() == limit {
                    more = true;
                    return Ok(ControlFlow::Break(()));
                }
                found.push(letter.summary());
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    found.sort_by(|a, b| a.dead_since.cmp(&b.dead_since));
    print(&found, args.output)?;
    if more {
        output::note(format_args!(
            "More than {limit} letters match; raise --limit."
        ));
    }
    Ok(())
}

/// Notes the letters that were skipped, with the reason.
pub(super) fn note_skipped(summary: &ProcessSummary) {
    for (id, reason) in &summary.skipped {
        output::note(format_args!("{id} skipped: {reason}"));
    }
}

pub(super) fn print(letters: &[DeadLetterSummary], output: OutputArgs) -> anyhow::Result<()> {
    output.print(letters, |letters| {
        let rows: Vec<_> = letters.iter().map(row).collect();
        table(
            ["ID", "SINCE", "REASON", "PENDING", "SESSION", "ERROR"],
            &rows,
        )
    })
}

fn row(letter: &DeadLetterSummary) -> [String; 6] {
    let mut error: String = letter.error.chars().take(ERROR_WIDTH).collect();
    if error.len() < letter.error.len() {
        error.push('…');
    }
    [
        letter.id.clone(),
        letter.dead_since.clone(),
        letter.reason.clone(),
        letter.pending_actions.join(","),
        letter.session.clone().unwrap_or_default(),
        error,
    ]
}

/// Flags of `sundown dlq list`.
#[derive(Args, Clone, Debug)]
pub struct ListDeadLettersArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}
