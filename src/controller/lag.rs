//! Consumer group lag per partition, in records and in seconds.
//!
//! A group's lag extends from its committed offset to the last stable offset. Transaction
//! markers and aborted records have offsets too, so a difference of offsets does not imply
//! unread records. Where the two offsets differ, the meter searches for the first committed
//! record between them (`lag/oldest.rs`): its timestamp is the age of the lag. Without such a
//! record, the lag is 0.

mod oldest;

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use tokio_util::sync::CancellationToken;

use super::lease::Leadership;
use crate::clock::Clock;
use crate::controller::metrics::{ControllerMetrics, PartitionLag};
use crate::health::{Health, Heartbeat};
use crate::kafka::errors::WithHint;
use crate::kafka::group_offsets::GroupOffsets;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::recreating_client::RecreatingClient;
use crate::session::Timestamp;
use oldest::Range;
use oldest::{OldestUnread, Unread};

/// Interval at which the thread checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Longer than a measurement of so many groups takes.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(120);
/// The most groups that are measured: each takes clients of its own.
const MAX_GROUPS: usize = 100;

/// A group and the topic that it reads, by their full names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredGroup {
    pub group: String,
    pub topic: String,
}

/// Measures the lag of groups, on a thread.
pub struct LagMeter {
    config: ClientConfig,
    /// The groups to measure.
    groups: Box<dyn Fn() -> Vec<MeasuredGroup> + Send>,
    gauges: Vec<Gauge>,
    clock: Clock,
    metrics: ControllerMetrics,
    leadership: Leadership,
}

/// Measures the lag of one group.
struct Gauge {
    measured: MeasuredGroup,
    clients: RecreatingClient<(GroupOffsets, OldestUnread)>,
    /// Whether the last measurement failed, which is logged once.
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
    /// Creates a meter of the groups that `groups` returns at each measurement.
    pub fn new(
        config: &ClientConfig,
        groups: impl Fn() -> Vec<MeasuredGroup> + Send + 'static,
        clock: Clock,
        metrics: ControllerMetrics,
        leadership: Leadership,
    ) -> Self {
        Self {
            config: config.clone(),
            groups: Box::new(groups),
            gauges: Vec::new(),
            clock,
            metrics,
            leadership,
        }
    }

    /// Measures the lag every `interval` while this process leads, until `stop` is cancelled.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        mut self,
        interval: Duration,
        health: &Health,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let run = move |heartbeat: Heartbeat| {
            let mut next = Duration::ZERO;
            while !stop.is_cancelled() {
                heartbeat.beat();
                if self.clock.elapsed() >= next && self.leadership.remaining().is_some() {
                    next = self.clock.elapsed() + interval;
                    self.measure();
                }
                thread::sleep(POLL_INTERVAL);
            }
        };
        health.spawn("lag", HEARTBEAT_TIMEOUT, run)?;
        Ok(())
    }

    fn measure(&mut self) {
        self.update_gauges();
        let now = self.clock.wall();
        let lags: Vec<Vec<Lag>> = self
            .gauges
            .iter_mut()
            .map(|gauge| gauge.measure(now))
            .collect();
        let exported = self.gauges.iter().zip(&lags).flat_map(|(gauge, lags)| {
            lags.iter().map(|lag| PartitionLag {
                group: &gauge.measured.group,
                topic: &gauge.measured.topic,
                partition: lag.partition,
                records: lag.records,
                seconds: lag.seconds,
            })
        });
        if self.leadership.remaining().is_some() {
            self.metrics.set_lag(&exported.collect::<Vec<_>>());
        }
    }
}

impl LagMeter {
    /// Creates gauges of new groups and drops those of groups that are gone.
    fn update_gauges(&mut self) {
        let mut groups = (self.groups)();
        groups.truncate(MAX_GROUPS);
        self.gauges.retain(|gauge| groups.contains(&gauge.measured));
        for group in groups {
            if self.gauges.iter().any(|gauge| gauge.measured == group) {
                continue;
            }
            match Gauge::new(&self.config, group, self.clock) {
                Ok(gauge) => self.gauges.push(gauge),
                Err(error) => tracing::warn!(%error, "cannot measure the lag of a group"),
            }
        }
    }
}

impl Gauge {
    fn new(config: &ClientConfig, measured: MeasuredGroup, clock: Clock) -> KafkaResult<Self> {
        let (config, of) = (config.clone(), measured.clone());
        let create = move || {
            let reader = with_group_id(&config, &of.group);
            let offsets = GroupOffsets::new(&config, &of.group, &of.topic)?;
            Ok((offsets, OldestUnread::new(&reader, &of.topic, clock)?))
        };
        Ok(Self {
            clients: RecreatingClient::new(clock, create)?,
            measured,
            failing: false,
        })
    }

    /// The lag of each partition; empty if it cannot be measured, so that no stale lag is
    /// exported.
    fn measure(&mut self, now: Timestamp) -> Vec<Lag> {
        let lags = self.clients.ask(|(offsets, oldest)| {
            let ranges: Vec<Range> = offsets.fetch()?.into_iter().map(Range::from).collect();
            let found = oldest.find(&ranges)?;
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
                    let MeasuredGroup { group, topic } = &self.measured;
                    tracing::warn!(error = %WithHint(&error), group, topic, "cannot measure the lag; retrying");
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
        // A producer whose clock is ahead.
        let unread = Unread::From {
            offset: 12,
            at: Timestamp::from_millis(11_000),
        };
        assert_eq!(lag(&range, unread, now).seconds, Some(0.0));
    }
}
