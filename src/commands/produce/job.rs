//! Writes the events of a source to the topic, at the requested rate.

use std::fmt;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::source::{EventSource, NextEvent};
use crate::clock::Clock;
use crate::demo::pace::Pace;
use crate::kafka::event_writer::{EventWriter, WriteError};
use crate::output;
use crate::session::Span;

/// The longest wait between checks of the source and the limits.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// Events between polls for delivery reports under load.
const EVENTS_PER_POLL: u64 = 64;
/// The maximum number of rejected lines to report.
const MAX_REPORTED: u64 = 20;

pub(super) struct ProduceJob {
    pub(super) writer: EventWriter,
    /// Started with the job: its elapsed time bounds the job.
    pub(super) clock: Clock,
    pub(super) pace: Pace,
    /// The maximum number of events.
    pub(super) events: Option<u64>,
    /// The maximum duration.
    pub(super) duration: Option<Span>,
    pub(super) stop: CancellationToken,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProduceSummary {
    pub(super) events: u64,
    /// The number of sessions, if known.
    pub(super) sessions: Option<u64>,
    /// The number of lines not written.
    pub(super) rejected: u64,
    pub(super) elapsed: Duration,
}

impl ProduceJob {
    /// Writes until the source ends, a limit is reached or the job is cancelled; then waits
    /// for the delivery of all events.
    pub(super) fn run(&self, mut source: EventSource) -> anyhow::Result<ProduceSummary> {
        let bar = output::progress::of_events(self.events);
        let mut summary = ProduceSummary::default();
        while self.should_continue(&summary) {
            let wait = self.pace.wait(summary.events, self.clock.elapsed());
            if !wait.is_zero() {
                self.writer.wait(wait.min(IDLE_WAIT));
                continue;
            }
            match source.next(self.clock.wall())? {
                NextEvent::Event {
                    target,
                    value,
                    line,
                } => match self.writer.send(&target, &value) {
                    Ok(()) => {
                        summary.events += 1;
                        bar.inc(1);
                        if summary.events.is_multiple_of(EVENTS_PER_POLL) {
                            self.writer.wait(Duration::ZERO);
                        }
                    }
                    Err(error @ WriteError::TooLarge(_)) => {
                        reject(&mut summary, &bar, line, &error);
                    }
                    Err(error) => return Err(error.into()),
                },
                NextEvent::Rejected { line, reason } => reject(&mut summary, &bar, line, &reason),
                NextEvent::Blank => {}
                NextEvent::Pending => self.writer.wait(IDLE_WAIT),
                NextEvent::End => break,
            }
        }
        self.writer.flush()?;
        bar.finish_and_clear();
        summary.sessions = source.sessions();
        summary.elapsed = self.clock.elapsed();
        Ok(summary)
    }

    fn should_continue(&self, summary: &ProduceSummary) -> bool {
        let in_time = |limit: Span| {
            self.clock.elapsed().as_millis() < limit.as_millis().cast_unsigned().into()
        };
        !self.stop.is_cancelled()
            && self.events.is_none_or(|limit| summary.events < limit)
            && self.duration.is_none_or(in_time)
    }
}

fn reject(summary: &mut ProduceSummary, bar: &ProgressBar, line: u64, reason: &dyn fmt::Display) {
    summary.rejected += 1;
    bar.suspend(|| {
        if summary.rejected <= MAX_REPORTED {
            output::note(format_args!("line {line} rejected: {reason}"));
        } else if summary.rejected == MAX_REPORTED + 1 {
            output::note("further rejected lines are not shown");
        }
    });
}

/// `wrote 1000 events of 120 sessions in 10.0 s (100 events/s)`
impl fmt::Display for ProduceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "wrote {} events", self.events)?;
        if let Some(sessions) = self.sessions {
            write!(f, " of {sessions} sessions")?;
        }
        #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
        let rate = self.events as f64 / seconds.max(0.001);
        write!(f, " in {seconds:.1} s ({rate:.0} events/s)")?;
        if self.rejected > 0 {
            write!(f, ", rejected {} lines", self.rejected)?;
        }
        Ok(())
    }
}
