//! Where the events come from.

use std::time::Duration;

use super::filler::Filler;
use super::lines::{self, Lines};
use crate::demo::population::Population;
use crate::demo::synthetic::Action;
use crate::kafka::event_writer::Target;
use crate::session::Timestamp;

/// Where the events come from.
pub(super) enum Source {
    Population(Population),
    Filler(Filler),
    Lines {
        lines: Lines,
        /// Whether lines are sent that are not session events.
        raw: bool,
    },
}

/// What a source has.
pub(super) enum Next {
    Event {
        target: Target,
        value: Vec<u8>,
        /// The line it was on, from 1; 0 if it was made up.
        line: u64,
    },
    /// A line that is not to be sent.
    Refused { line: u64, reason: String },
    /// A line that says nothing.
    Skip,
    /// Nothing yet.
    Later,
    /// Nothing any more.
    End,
}

impl Source {
    /// What comes next, if it happens `now`.
    pub(super) fn next(&mut self, now: Timestamp) -> anyhow::Result<Next> {
        match self {
            Self::Population(population) => made_up(Some(population.next(now))),
            Self::Filler(filler) => made_up(filler.next(now)),
            Self::Lines { lines, raw } => Ok(match lines.next(Duration::ZERO)? {
                lines::Next::Line(line) if !*raw && line.is_blank() => Next::Skip,
                lines::Next::Line(line) => read(line, *raw),
                lines::Next::Later => Next::Later,
                lines::Next::End => Next::End,
            }),
        }
    }

    /// How many sessions the events were of, if the source knows.
    pub(super) fn sessions(&self) -> Option<u64> {
        match self {
            Self::Population(population) => Some(population.sessions()),
            Self::Filler(filler) => Some(filler.sessions()),
            Self::Lines { .. } => None,
        }
    }
}

fn made_up(action: Option<Action>) -> anyhow::Result<Next> {
    let Some(action) = action else {
        return Ok(Next::End);
    };
    Ok(Next::Event {
        target: action.target(),
        value: action.to_json()?,
        line: 0,
    })
}

fn read(line: lines::Line, raw: bool) -> Next {
    let number = line.number;
    let refused = |reason| Next::Refused {
        line: number,
        reason,
    };
    if line.cut {
        return refused("it is too long to be a record".to_owned());
    }
    let target = match Target::of(&line.bytes) {
        Ok(target) => target,
        Err(_) if raw => Target::Anywhere,
        Err(error) => return refused(error.to_string()),
    };
    Next::Event {
        target,
        value: line.bytes,
        line: number,
    }
}
