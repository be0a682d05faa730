//! From the source to the topic, at the pace asked for, until the end.

use std::fmt;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::source::{Next, Source};
use crate::clock::Clock;
use crate::demo::pace::Pace;
use crate::kafka::event_writer::{EventWriter, WriteError};
use crate::output;
use crate::session::Span;

/// How long nothing is looked at, at most, while there is nothing to do.
const NAP: Duration = Duration::from_millis(20);
/// How often delivery reports are looked at while there is much to do.
const REPORTS_EVERY: u64 = 64;
/// How many refused lines are told of.
const MAX_TOLD: u64 = 20;

/// What it takes to write events.
pub(super) struct Run {
    pub(super) writer: EventWriter,
    /// Made at the start: its elapsed time is the run's.
    pub(super) clock: Clock,
    pub(super) pace: Pace,
    /// The most events to write.
    pub(super) events: Option<u64>,
    /// The longest time to write.
    pub(super) duration: Option<Span>,
    pub(super) stop: CancellationToken,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    pub(super) events: u64,
    /// Of how many sessions, if known.
    pub(super) sessions: Option<u64>,
    /// Lines that were not written.
    pub(super) refused: u64,
    pub(super) elapsed: Duration,
}

impl Run {
    /// Writes until the source, the limits or the user say stop; then waits until
    /// everything is written.
    pub(super) fn until_end(&self, mut source: Source) -> anyhow::Result<Summary> {
        let bar = output::progress::of_events(self.events);
        let mut summary = Summary::default();
        while self.goes_on(&summary) {
            let wait = self.pace.wait(summary.events, self.clock.elapsed());
            if !wait.is_zero() {
                self.writer.wait(wait.min(NAP));
                continue;
            }
            match source.next(self.clock.wall())? {
                Next::Event {
                    target,
                    value,
                    line,
                } => match self.writer.send(&target, &value) {
                    Ok(()) => {
                        summary.events += 1;
                        bar.inc(1);
                        if summary.events.is_multiple_of(REPORTS_EVERY) {
                            self.writer.wait(Duration::ZERO);
                        }
                    }
                    Err(error @ WriteError::TooLarge(_)) => {
                        refuse(&mut summary, &bar, line, &error);
                    }
                    Err(error) => return Err(error.into()),
                },
                Next::Refused { line, reason } => refuse(&mut summary, &bar, line, &reason),
                Next::Skip => {}
                Next::Later => self.writer.wait(NAP),
                Next::End => break,
            }
        }
        self.writer.flush()?;
        bar.finish_and_clear();
        summary.sessions = source.sessions();
        summary.elapsed = self.clock.elapsed();
        Ok(summary)
    }

    fn goes_on(&self, summary: &Summary) -> bool {
        let in_time = |limit: Span| {
            self.clock.elapsed().as_millis() < limit.as_millis().cast_unsigned().into()
        };
        !self.stop.is_cancelled()
            && self.events.is_none_or(|limit| summary.events < limit)
            && self.duration.is_none_or(in_time)
    }
}

fn refuse(summary: &mut Summary, bar: &ProgressBar, line: u64, reason: &dyn fmt::Display) {
    summary.refused += 1;
    bar.suspend(|| {
        if summary.refused <= MAX_TOLD {
            output::note(format_args!("line {line} is refused: {reason}"));
        } else if summary.refused == MAX_TOLD + 1 {
            output::note("more lines are refused");
        }
    });
}

/// `wrote 1000 events of 120 sessions in 10.0 s (100 events/s)`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "wrote {} events", self.events)?;
        if let Some(sessions) = self.sessions {
            write!(f, " of {sessions} sessions")?;
        }
        #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
        let rate = self.events as f64 / seconds.max(0.001);
        write!(f, " in {seconds:.1} s ({rate:.0} events/s)")?;
        if self.refused > 0 {
            write!(f, ", refused {} lines", self.refused)?;
        }
        Ok(())
    }
}
