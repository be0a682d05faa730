//! Sources of session events: synthetic users or a file.

use std::time::Duration;

use super::filler::Filler;
use super::lines::{InputLine, LineReader, NextLine};
use crate::demo::population::Population;
use crate::demo::synthetic::SyntheticEvent;
use crate::kafka::event_writer::Target;
use crate::session::Timestamp;

pub(super) enum EventSource {
    Population(Population),
    Filler(Filler),
    Lines {
        lines: LineReader,
        /// Whether to write lines that are not session events.
        raw: bool,
    },
}

/// The result of [`EventSource::next`].
pub(super) enum NextEvent {
    Event {
        target: Target,
        value: Vec<u8>,
        /// The input line, from 1; 0 for synthetic events.
        line: u64,
    },
    /// A line that is not a session event.
    Rejected { line: u64, reason: String },
    /// A blank line.
    Blank,
    /// No event yet.
    Pending,
    /// The end of the source.
    End,
}

impl EventSource {
    /// Returns the next event; synthetic events happen `now`.
    pub(super) fn next(&mut self, now: Timestamp) -> anyhow::Result<NextEvent> {
        match self {
            Self::Population(population) => synthetic(Some(population.next(now))),
            Self::Filler(filler) => synthetic(filler.next(now)),
            Self::Lines { lines, raw } => Ok(match lines.next(Duration::ZERO)? {
                NextLine::Line(line) if !*raw && line.is_blank() => NextEvent::Blank,
                NextLine::Line(line) => from_line(line, *raw),
                NextLine::Pending => NextEvent::Pending,
                NextLine::End => NextEvent::End,
            }),
        }
    }

    /// Returns the number of sessions, if known.
    pub(super) fn sessions(&self) -> Option<u64> {
        match self {
            Self::Population(population) => Some(population.sessions()),
            Self::Filler(filler) => Some(filler.sessions()),
            Self::Lines { .. } => None,
        }
    }
}

fn synthetic(event: Option<SyntheticEvent>) -> anyhow::Result<NextEvent> {
    let Some(event) = event else {
        return Ok(NextEvent::End);
    };
    Ok(NextEvent::Event {
        target: event.target(),
        value: event.to_json()?,
        line: 0,
    })
}

fn from_line(line: InputLine, raw: bool) -> NextEvent {
    let number = line.number;
    let rejected = |reason| NextEvent::Rejected {
        line: number,
        reason,
    };
    if line.truncated {
        return rejected("it is too long for a record".to_owned());
    }
    let target = match Target::of(&line.bytes) {
        Ok(target) => target,
        Err(_) if raw => Target::Anywhere,
        Err(error) => return rejected(error.to_string()),
    };
    NextEvent::Event {
        target,
        value: line.bytes,
        line: number,
    }
}
