//! Returns dead letters to their source topics.

use rdkafka::message::{Header, OwnedHeaders};

use super::kind::Kind;
use super::selection::SelectionArgs;
use crate::dead_letters::letter::DeadLetter;
use crate::dead_letters::redrive::{Outcome, Outgoing, Processor, Watched, process};
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::wire::dead_letter::{HEADER_PREFIX, REDRIVE_ACTIONS, REDRIVE_HISTORY};

/// How many failures a record remembers, the latest.
const MAX_HISTORY: usize = 10;

pub(crate) fn redrive(
    selection: &SelectionArgs,
    global: &GlobalArgs,
    watched: Watched,
) -> anyhow::Result<Outcome> {
    let retry = Retry {
        topics: global.topics.topics(),
    };
    process(&retry, selection, global, watched)
}

struct Retry {
    topics: Topics,
}

impl Processor for Retry {
    const NAME: &'static str = "retried";

    fn write(&self, kind: Kind, letter: &DeadLetter) -> Result<Option<Outgoing>, String> {
        if letter.is_truncated() {
            let reason = "its contents were too large for the dead-letter topic; they are where \
                          its source headers say";
            return Err(reason.to_owned());
        }
        Ok(Some(Outgoing {
            topic: kind.source_topic(&self.topics).to_owned(),
            partition: letter.source_partition(),
            headers: headers(kind, letter),
        }))
    }
}

/// The record's own headers, what went wrong so far, and for terminal events which actions
/// are to run.
fn headers(kind: Kind, letter: &DeadLetter) -> OwnedHeaders {
    let ours = |name: &str| {
        name.starts_with(HEADER_PREFIX) || [REDRIVE_ACTIONS, REDRIVE_HISTORY].contains(&name)
    };
    let own = letter.headers.iter().filter(|(name, _)| !ours(name));
    let mut headers = own.fold(OwnedHeaders::new(), |headers, (key, value)| {
        let value = value.as_deref();
        headers.insert(Header { key, value })
    });
    let mut history = letter.history();
    history.push(letter.failure());
    let latest = &history[history.len().saturating_sub(MAX_HISTORY)..];
    // Structs of plain fields always serialise.
    let history = serde_json::to_string(latest).unwrap_or_default();
    headers = headers.insert(Header {
        key: REDRIVE_HISTORY,
        value: Some(&history),
    });
    let pending_actions: Vec<_> = letter.pending_actions().collect();
    if kind == Kind::Endings && !pending_actions.is_empty() {
        headers = headers.insert(Header {
            key: REDRIVE_ACTIONS,
            value: Some(&pending_actions.join(",")),
        });
    }
    headers
}
