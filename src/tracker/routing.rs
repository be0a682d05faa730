//! What bounds the watermarks of a partition besides itself.
//!
//! An event may be on another partition than the one that it belongs on; its tracker forwards it.
//! So a partition has been read up to a time only if all partitions have been read, and what
//! belongs elsewhere has been forwarded, up to that time. That has to be known *before* the end of
//! the partition is asked for: what had been forwarded by then lies before that end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use clap::ValueEnum;

use crate::session::Timestamp;
use crate::wire::routing::Routing;
use crate::wire::watermark::Upstream;

/// The most commits that wait for end offsets which were asked for after them.
const MAX_COMMITS: usize = 64;
/// The most partitions that a hold names.
const MAX_NAMED: usize = 8;

/// Which keys are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RoutingMode {
    /// No keys: events may be on any partition.
    #[default]
    Any,
    /// The keys of all producers: each partition proceeds by itself.
    Keyed,
}

/// Why no session may end although the clocks agree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingHold {
    /// The topic has fewer partitions than before.
    #[error(
        "the topic of session events has {now} partitions instead of {before}, so it was deleted and created again: no session ends; stop all trackers and start from an empty state with: sundown topics reset"
    )]
    PartitionsRemoved { before: i32, now: i32 },
    /// The watermarks of sources are not known.
    #[error("the topic of watermarks: {0}")]
    Unusable(String),
    /// No tracker has stated how far it has read these partitions.
    #[error(
        "no tracker has stated a watermark of {}: sessions end once trackers with the same --routing-key have all partitions",
        named(.0)
    )]
    Waiting(Vec<i32>),
}

impl RoutingHold {
    /// Every [`reason`](Self::reason), for metrics.
    pub const REASONS: [&str; 3] = ["partitions_removed", "unusable_record", "waiting"];

    /// Returns one of [`REASONS`](Self::REASONS).
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::PartitionsRemoved { .. } => "partitions_removed",
            Self::Unusable(_) => "unusable_record",
            Self::Waiting(_) => "waiting",
        }
    }

    /// Returns whether an operator has to act.
    #[must_use]
    pub const fn needs_operator(&self) -> bool {
        match self {
            Self::PartitionsRemoved { .. } | Self::Unusable(_) => true,
            Self::Waiting(_) => false,
        }
    }
}

fn named(partitions: &[i32]) -> String {
    let first: Vec<String> = partitions
        .iter()
        .take(MAX_NAMED)
        .map(ToString::to_string)
        .collect();
    match partitions.len().saturating_sub(MAX_NAMED) {
        0 => format!("partitions {}", first.join(", ")),
        more => format!("partitions {} and {more} more", first.join(", ")),
    }
}

/// Up to when this tracker has read partitions and forwarded what belongs elsewhere.
pub type Statements = BTreeMap<i32, Timestamp>;

/// Bounds watermarks by what other partitions and sources may still forward.
#[derive(Debug)]
pub(super) struct UpstreamBound {
    mode: RoutingMode,
    routing: Routing,
    /// The number of partitions of the topic.
    partition_count: i32,
    /// What commits have proven, each from when it was acknowledged, the oldest first. Only the
    /// first of those that precede a request is kept.
    committed: VecDeque<(Duration, Statements)>,
    /// What the commit in progress will prove, and whether it forwards events.
    in_flight: Option<(Statements, bool)>,
    /// When the last commit that forwarded events was acknowledged, here or by the tracker that
    /// had a partition before.
    last_forward: Option<Duration>,
    /// The statements written last.
    published: Statements,
}

impl UpstreamBound {
    pub(super) fn new(mode: RoutingMode, routing: Routing) -> Self {
        Self {
            mode,
            routing,
            partition_count: routing.partitions,
            committed: VecDeque::new(),
            in_flight: None,
            last_forward: None,
            published: Statements::new(),
        }
    }

    pub(super) fn routing(&self) -> Routing {
        self.routing
    }

    /// Takes over the number of partitions of the topic, as far as it is known.
    pub(super) fn set_partition_count(&mut self, count: Option<i32>) -> Result<(), RoutingHold> {
        let before = self.partition_count;
        match count {
            Some(now) if now < before => Err(RoutingHold::PartitionsRemoved { before, now }),
            Some(now) => {
                if now > before {
                    tracing::info!(
                        before,
                        now,
                        "partitions were added; events on them are forwarded"
                    );
                }
                self.partition_count = now;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns whether events of this topic may be forwarded to partitions of it.
    fn bounded_by_partitions(&self) -> bool {
        let has_grown = self.partition_count > self.routing.partitions;
        has_grown || self.mode == RoutingMode::Any && self.routing.partitions > 1
    }

    /// Returns a time up to which everything that belongs on any partition has been written to
    /// it, as known before end offsets were requested at `requested`; [`Timestamp::MAX`] if
    /// nothing is written to it by others.
    ///
    /// `own` are the watermarks of the partitions that are being read here, proven by those end
    /// offsets; `forwards` is whether events that have been read of them wait to be forwarded.
    pub(super) fn least(
        &mut self,
        upstream: &Upstream,
        requested: Duration,
        own: &Statements,
        forwards: bool,
    ) -> Result<Timestamp, RoutingHold> {
        if let Some(problem) = &upstream.problem {
            return Err(RoutingHold::Unusable(problem.clone()));
        }
        let sources = upstream.sources.unwrap_or(Timestamp::MAX);
        if !self.bounded_by_partitions() {
            return Ok(sources);
        }
        while self.committed.get(1).is_some_and(|(at, _)| *at < requested) {
            self.committed.pop_front();
        }
        let committed = self.committed.front();
        let committed = committed.filter(|(at, _)| *at < requested);
        // Without forwards since the request, all that have been read are covered by it.
        let in_flight = self
            .in_flight
            .as_ref()
            .is_some_and(|(_, forwards)| *forwards);
        let covered = self.last_forward.is_none_or(|at| at < requested);
        let own = (covered && !in_flight && !forwards).then_some(own);
        let mut least = sources;
        let mut missing = Vec::new();
        for partition in 0..self.partition_count {
            let statements = [
                upstream.partitions.get(&partition),
                committed.and_then(|(_, statements)| statements.get(&partition)),
                own.and_then(|own| own.get(&partition)),
            ];
            match statements.into_iter().flatten().max() {
                Some(until) => least = least.min(*until),
                None => missing.push(partition),
            }
        }
        if missing.is_empty() {
            Ok(least)
        } else {
            Err(RoutingHold::Waiting(missing))
        }
    }

    /// Returns whether other trackers wait for statements about the partitions in `own`.
    pub(super) fn must_publish(&self, own: &Statements) -> bool {
        let all = i32::try_from(own.len()).is_ok_and(|own| own >= self.partition_count);
        self.bounded_by_partitions() && !all && !own.is_empty() && *own != self.published
    }

    /// Notes that a batch is being committed after everything up to `own` has been read. Returns
    /// the statements to write with it.
    pub(super) fn batch(&mut self, own: Statements, forwards: bool) -> Option<Statements> {
        // Also while this tracker has all partitions: the next one that takes some over needs them.
        let is_news = self.bounded_by_partitions() && own != self.published;
        let statements = (is_news && !own.is_empty()).then(|| own.clone());
        if let Some(statements) = &statements {
            self.published.clone_from(statements);
        }
        self.in_flight = Some((own, forwards));
        statements
    }

    /// Notes that the batch in progress was committed, as acknowledged at `now`.
    pub(super) fn committed(&mut self, now: Duration) {
        let Some((statements, forwards)) = self.in_flight.take() else {
            return;
        };
        if forwards {
            self.last_forward = self.last_forward.max(Some(now));
        }
        // A statement stays true, also after another tracker has taken over the partition.
        let mut merged = match self.committed.back() {
            Some((_, before)) => before.clone(),
            None => Statements::new(),
        };
        for (partition, until) in statements {
            let known = merged.entry(partition).or_insert(until);
            *known = (*known).max(until);
        }
        if self.committed.len() >= MAX_COMMITS {
            // The oldest one is what counts until end offsets are asked for after a later one.
            self.committed.pop_back();
        }
        self.committed.push_back((now, merged));
    }

    /// Notes that a partition is being read here from `now` on. Commits of the tracker that had it
    /// before were acknowledged by then.
    pub(super) fn restored(&mut self, now: Duration) {
        self.last_forward = self.last_forward.max(Some(now));
    }

    /// Notes that the batch in progress was not committed.
    pub(super) fn aborted(&mut self) {
        self.in_flight = None;
        self.published.clear();
    }
}

#[cfg(test)]
mod tests;
