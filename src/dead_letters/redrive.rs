//! Writes dead letters back to their source topics.

use rdkafka::message::{Header, OwnedHeaders};

use super::kind::DeadLetterKind;
use super::letter::DeadLetter;
use super::process::{ProcessSummary, Processor, ProgressBarMode, RedriveRecord, process};
use super::selection::SelectionArgs;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::wire::dead_letter::{HEADER_PREFIX, REDRIVE_ACTIONS, REDRIVE_HISTORY};

/// Bounds the latest failures that a record carries.
const MAX_HISTORY: usize = 10;

pub(crate) fn redrive(
    selection: &SelectionArgs,
    global: &GlobalArgs,
    mode: ProgressBarMode,
) -> anyhow::Result<ProcessSummary> {
    let redrive = Redrive {
        topics: global.topics.topics(),
    };
    process(&redrive, selection, global, mode)
}

struct Redrive {
    topics: Topics,
}

impl Processor for Redrive {
    const PROCESSED_AS: &'static str = "redriven";

    fn record(
        &self,
        kind: DeadLetterKind,
        letter: &DeadLetter,
    ) -> Result<Option<RedriveRecord>, String> {
        if letter.is_truncated() {
            let reason = "its contents exceeded the dead-letter topic's limit; they are at the \
                          source offset in its headers";
            return Err(reason.to_owned());
        }
        Ok(Some(RedriveRecord {
            topic: kind.source_topic(&self.topics).to_owned(),
            partition: letter.source_partition(),
            headers: headers(kind, letter),
        }))
    }
}

/// The source record's headers, its failures so far and, for terminal events, the actions to
/// run.
#[must_use]
pub fn headers(kind: DeadLetterKind, letter: &DeadLetter) -> OwnedHeaders {
    let ours = |name: &str| {
        name.starts_with(HEADER_PREFIX) || [REDRIVE_ACTIONS, REDRIVE_HISTORY].contains(&name)
    };
    let own = letter.headers.list.iter().filter(|(name, _)| !ours(name));
    let mut headers = match &letter.all_headers {
        // Single headers cannot be left out of these. The last one of each name applies.
        Some(all) => all.clone(),
        None => own.fold(OwnedHeaders::new(), |headers, (key, value)| {
            let value = value.as_deref();
            headers.insert(Header { key, value })
        }),
    };
    let mut history = letter.history();
    history.push(letter.failure());
    let latest = &history[history.len().saturating_sub(MAX_HISTORY)..];
    // Structs of plain fields always serialize.
    let history = serde_json::to_string(latest).unwrap_or_default();
    headers = headers.insert(Header {
        key: REDRIVE_HISTORY,
        value: Some(&history),
    });
    let pending_actions: Vec<_> = letter.pending_actions().collect();
    if kind == DeadLetterKind::Endings && !pending_actions.is_empty() {
        headers = headers.insert(Header {
            key: REDRIVE_ACTIONS,
            value: Some(&pending_actions.join(",")),
        });
    }
    headers
}
