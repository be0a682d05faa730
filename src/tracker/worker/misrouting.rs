//! Log lines about events on the wrong partition.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::tracker::forwarding::{ForwardCause, MisroutedRecord};
use crate::tracker::partition::PartitionCounters;
use crate::tracker::routing::RoutingMode;

/// How long after a line about a cause the next one follows.
const INTERVAL: Duration = Duration::from_secs(30);

/// Logs misrouted events: for each cause one line in [`INTERVAL`], with an example.
#[derive(Debug, Default)]
pub(super) struct MisroutingLog(BTreeMap<ForwardCause, CauseLog>);

#[derive(Debug, Default)]
struct CauseLog {
    /// Events since the last line.
    events: u64,
    example: Option<MisroutedRecord>,
    last_line: Option<Duration>,
}

impl MisroutingLog {
    /// Takes over what a partition has counted.
    pub(super) fn add(&mut self, counters: &PartitionCounters) {
        for (cause, events) in counters.forwarded.iter() {
            if events > 0 && cause.remedy().is_some() {
                self.0.entry(cause).or_default().events += events;
            }
        }
        if let Some(example) = counters.misrouted {
            self.0.entry(example.cause).or_default().example = Some(example);
        }
    }

    /// Logs what is due at `now`.
    pub(super) fn write(&mut self, topic: &str, mode: RoutingMode, now: Duration) {
        for (cause, log) in &mut self.0 {
            let is_due = log
                .last_line
                .is_none_or(|last| now.saturating_sub(last) >= INTERVAL);
            let (Some(example), Some(remedy)) = (log.example, cause.remedy()) else {
                continue;
            };
            if log.events == 0 || !is_due {
                continue;
            }
            let events = std::mem::take(&mut log.events);
            log.last_line = Some(now);
            let (partition, offset) = (example.partition, example.offset);
            let cause = cause.as_str();
            match mode {
                RoutingMode::Any => tracing::warn!(
                    topic,
                    partition,
                    offset,
                    events,
                    cause,
                    remedy,
                    "forwarded events that were on the wrong partition, which delays endings"
                ),
                RoutingMode::Keyed => tracing::error!(
                    topic,
                    partition,
                    offset,
                    events,
                    cause,
                    remedy,
                    "forwarded events that were on the wrong partition; with --routing keyed their sessions may end early: correct the producer, or use --routing any"
                ),
            }
        }
    }
}
