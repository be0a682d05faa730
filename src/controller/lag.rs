//! How far the consumer groups are behind, per partition, in records and in seconds.
//!
//! A group's lag runs from what it has committed to the last stable offset: what a reader
//! of committed records could have read. Offsets alone cannot tell whether there is
//! anything to read in between, for transaction markers and aborted records have offsets
//! too. So where the two differ, the first committed record is looked for, and its
//! timestamp is the age of the lag. Where there is none, the lag is 0.
//!
//! | part | file |
//! |---|---|
//! | offsets of all partitions, in three questions | `kafka/group_offsets.rs` |
//! | the first unread records | `lag/oldest.rs` |

mod oldest;

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::lease::Leadership;
use crate::clock::Clock;
use crate::controller::metrics::{ControllerMetrics, PartitionLag};
use crate::health::Heartbeat;
use crate::kafka::errors::WithHint;
use crate::kafka::group_offsets::GroupOffsets;
use crate::kafka::reader_config::with_group_id;
use crate::session::Timestamp;
use oldest::Range;
use oldest::{OldestUnread, Unread};

/// How often a thread that waits looks whether to stop.
const STEP: Duration = Duration::from_millis(100);

/// A group and the topic that it reads.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The group, prefix included.
    pub group: String,
    /// The topic.
    pub topic: String,
}

/// Measures the lag.
pub struct LagMeter {
    gauges: Vec<Gauge>,
    clock: Clock,
    metrics: ControllerMetrics,
    leadership: Leadership,
}

/// Measures one group's.
struct Gauge {
    subject: Subject,
    offsets: GroupOffsets,
    oldest: OldestUnread,
    /// Whether the last round failed, so that it is not said over and over.
    failing: bool,
}

/// A partition's lag.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lag {
    partition: i32,
    records: i64,
    seconds: Option<f64>,
}

impl LagMeter {
    /// A meter of these groups.
    ///
    /// # Errors
    /// If a client cannot be made.
    pub fn new(
        config: &ClientConfig,
        subjects: impl IntoIterator<Item = Subject>,
        clock: Clock,
        metrics: ControllerMetrics,
        leadership: Leadership,
    ) -> anyhow::Result<Self> {
        let gauge = |subject: Subject| -> anyhow::Result<Gauge> {
            Ok(Gauge {
                offsets: GroupOffsets::new(config, &subject.group, &subject.topic)?,
                oldest: OldestUnread::new(
                    &with_group_id(config, &subject.group),
                    &subject.topic,
                    clock,
                )?,
                subject,
                failing: false,
            })
        };
        Ok(Self {
            gauges: subjects.into_iter().map(gauge).collect::<Result<_, _>>()?,
            clock,
            metrics,
            leadership,
        })
    }

    /// Measures every `interval`, while this process leads, on a thread of its own, until
    /// `stop`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        mut self,
        interval: Duration,
        stop: CancellationToken,
        pulse: Heartbeat,
    ) -> std::io::Result<()> {
        let run = move || {
            let mut next = Duration::ZERO;
            while !stop.is_cancelled() {
                pulse.beat();
                if self.clock.elapsed() >= next && self.leadership.remaining().is_some() {
                    next = self.clock.elapsed() + interval;
                    self.measure();
                }
                thread::sleep(STEP);
            }
        };
        thread::Builder::new().name("lag".to_owned()).spawn(run)?;
        Ok(())
    }

    fn measure(&mut self) {
        let now = self.clock.wall();
        let lags: Vec<Vec<Lag>> = self
            .gauges
            .iter_mut()
            .map(|gauge| gauge.measure(now))
            .collect();
        let shown = self.gauges.iter().zip(&lags).flat_map(|(gauge, lags)| {
            lags.iter().map(|lag| PartitionLag {
                group: &gauge.subject.group,
                topic: &gauge.subject.topic,
                partition: lag.partition,
                records: lag.records,
                seconds: lag.seconds,
            })
        });
        if self.leadership.remaining().is_some() {
            self.metrics.lag(&shown.collect::<Vec<_>>());
        }
    }
}

impl Gauge {
    /// The lag of each partition; none while the brokers do not tell: rather no lag than
    /// an old one.
    fn measure(&mut self, now: Timestamp) -> Vec<Lag> {
        let ranges = self.offsets.ask();
        let lags = ranges.and_then(|ranges| {
            let ranges: Vec<Range> = ranges.into_iter().map(Range::from).collect();
            let found = self.oldest.find(&ranges)?;
            let lags = ranges.iter().zip(found);
            Ok(lags
                .map(|(range, unread)| lag(range, unread, now))
                .collect())
        });
        match lags {
            Ok(lags) => {
                self.failing = false;
                lags
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let Subject { group, topic } = &self.subject;
                    tracing::warn!(error = %WithHint(&error), group, topic, "the lag cannot be measured; trying again");
                }
                Vec::new()
            }
        }
    }
}

fn lag(range: &Range, unread: Unread, now: Timestamp) -> Lag {
    let seconds = |at: Timestamp| {
        let millis = now.since(at).as_millis().max(0);
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let seconds = millis as f64 / 1_000.0;
        seconds
    };
    let (records, seconds) = match unread {
        Unread::Nothing => (0, Some(0.0)),
        Unread::From { offset, at } => (range.end - offset, Some(seconds(at))),
        Unread::Unknown => (range.end - range.position, None),
    };
    Lag {
        partition: range.partition,
        records,
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_from_the_first_record_to_the_end() {
        let range = Range {
            partition: 3,
            position: 10,
            end: 20,
        };
        let now = Timestamp::from_millis(10_000);
        let at = Timestamp::from_millis(7_500);
        for (unread, records, seconds) in [
            (Unread::Nothing, 0, Some(0.0)),
            (Unread::From { offset: 12, at }, 8, Some(2.5)),
            (Unread::Unknown, 10, None),
        ] {
            let expected = Lag {
                partition: 3,
                records,
                seconds,
            };
            assert_eq!(lag(&range, unread, now), expected);
        }
        // Of a machine whose clock is ahead.
        let unread = Unread::From {
            offset: 12,
            at: Timestamp::from_millis(11_000),
        };
        assert_eq!(lag(&range, unread, now).seconds, Some(0.0));
    }
}
