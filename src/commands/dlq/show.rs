//! `sundown dlq show`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::dead_letters::kind::DeadLetterKind;
use crate::dead_letters::letter::{DeadLetter, DeadLetterId};
use crate::dead_letters::scan::Scan;
use crate::kafka::args::GlobalArgs;
use crate::output::OutputArgs;
use crate::wire::dead_letter::FailureRecord;
use crate::wire::time;

/// The output of `sundown dlq show`.
#[derive(Debug, Serialize)]
struct DeadLetterDetails {
    id: String,
    dead_since: String,
    failure: FailureRecord,
    pending_actions: Vec<String>,
    history: Vec<FailureRecord>,
    headers: BTreeMap<String, String>,
    key: Option<String>,
    value: Option<String>,
}

pub(super) fn run(args: &ShowArgs, global: &GlobalArgs) -> anyhow::Result<()> {
    let topics = global.topics.topics();
    // Rejects topics that are not dead-letter topics.
    DeadLetterKind::of_topic(&args.letter.topic, &topics)?;
    let scan = Scan::open(&global.connection.client_config()?, &args.letter.topic)?;
    let mut found = None;
    scan.letters(|letter| {
        if letter.id != args.letter {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(details(&letter));
        Ok(ControlFlow::Break(()))
    })?;
    let details = found.with_context(|| {
        format!(
            "letter {} not found: it was redriven, discarded or deleted by retention; list the \
             remaining letters with: sundown dlq list",
            args.letter
        )
    })?;
    args.output.print(&details, |details| {
        serde_yaml::to_string(details).unwrap_or_else(|error| error.to_string())
    })
}

fn details(letter: &DeadLetter) -> DeadLetterDetails {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = letter.headers.list.iter();
    DeadLetterDetails {
        id: letter.id.to_string(),
        dead_since: time::format(letter.at),
        failure: letter.failure(),
        pending_actions: letter.pending_actions().map(str::to_owned).collect(),
        history: letter.history(),
        headers: headers
            .map(|(name, value)| (name.clone(), text(value.as_deref().unwrap_or_default())))
            .collect(),
        key: letter.key.as_deref().map(text),
        value: letter.value.as_deref().map(text),
    }
}

/// Flags of `sundown dlq show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Id of the letter, as shown by `list`.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub letter: DeadLetterId,
    #[command(flatten)]
    pub output: OutputArgs,
}
