//! Process reports, and the clock that they give samples of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::batch::IngestCounts;
use crate::clock::clocks::{ClockHold, Clocks};
use crate::clock::{Clock, Reading};
use crate::health::Health;
use crate::processes::{
    Assignment, INTERVAL, Identity, LAST_REPORT_TIMEOUT, ProcessState, Reporter, SourceProgress,
};
use crate::session::{Span, Timestamp};
use crate::source::mapping::Mapping;

/// How often acknowledgements of reports are looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// Writes the reports of the process.
pub struct Reporting {
    identity: Identity,
    health: Health,
    reporter: Reporter,
    shared: SharedState,
    clock: Clock,
}

/// What workers and reports share.
#[derive(Clone, Debug)]
pub struct SharedState {
    inner: Arc<Mutex<ReportState>>,
}

#[derive(Debug)]
struct ReportState {
    clocks: Clocks,
    topics: BTreeMap<String, IngestedTopic>,
    /// Sources with a pattern.
    patterns: Vec<SourceProgress>,
    /// When topics were last listed, while there are patterns.
    listed: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct IngestedTopic {
    assignments: Vec<Assignment>,
    progress: SourceProgress,
}

impl SharedState {
    /// The lower of the machine's and the brokers' clock at `reading`.
    ///
    /// # Errors
    /// [`ClockHold`] while they disagree.
    pub fn lower(&self, reading: Reading) -> Result<Timestamp, ClockHold> {
        self.state().clocks.lower(reading)
    }

    /// The time up to which partitions can be vouched for at `reading`: no later than the last
    /// listing of topics, if patterns depend on it.
    ///
    /// # Errors
    /// [`ClockHold`] while the clocks disagree.
    pub fn vouched(&self, reading: Reading) -> Result<Timestamp, ClockHold> {
        let state = self.state();
        let lower = state.clocks.lower(reading)?;
        let is_bounded = !state.patterns.is_empty();
        let listed = state.listed.unwrap_or(Timestamp::from_millis(0));
        Ok(if is_bounded { lower.min(listed) } else { lower })
    }

    /// Sets the active mappings with a pattern. Of one that is new, no topic is known yet.
    pub fn set_patterns(&self, mappings: &[Arc<Mapping>]) {
        let patterns = mappings.iter().map(|mapping| SourceProgress {
            source: mapping.name().to_owned(),
            generation: mapping.generation(),
            ..SourceProgress::default()
        });
        let patterns: Vec<_> = patterns.collect();
        let mut state = self.state();
        if state.patterns != patterns {
            state.patterns = patterns;
            state.listed = None;
        }
    }

    /// Sets up to when all topics that patterns match are known.
    pub fn set_listed(&self, at: Timestamp) {
        self.state().listed = Some(at);
    }

    /// Sets the active mapping and the assignments of a topic.
    pub fn set(&self, topic: &str, mapping: &Mapping, assignments: Vec<Assignment>) {
        let mut state = self.state();
        let state = state.topics.entry(topic.to_owned()).or_default();
        state.assignments = assignments;
        if state.progress.source != mapping.name() {
            state.progress = SourceProgress {
                source: mapping.name().to_owned(),
                topic: topic.to_owned(),
                ..SourceProgress::default()
            };
        }
        state.progress.generation = mapping.generation();
    }

    /// Counts a committed batch of a topic.
    pub fn count(&self, topic: &str, counts: &IngestCounts) {
        if let Some(IngestedTopic { progress, .. }) = self.state().topics.get_mut(topic) {
            progress.events += counts.events;
            progress.skipped += counts.skipped;
            progress.dead_letters += counts.dead_letters.values().sum::<u64>();
        }
    }

    /// Removes the assignments of a topic.
    pub fn release(&self, topic: &str) {
        if let Some(state) = self.state().topics.get_mut(topic) {
            state.assignments.clear();
        }
    }

    /// Removes a topic that no source reads any more.
    pub fn forget(&self, topic: &str) {
        self.state().topics.remove(topic);
    }

    fn state(&self) -> MutexGuard<'_, ReportState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporting {
    /// Creates reports to a topic; the clocks may differ by the given span.
    ///
    /// # Errors
    /// If the producer cannot be created.
    pub fn new(
        identity: Identity,
        health: Health,
        producer: ClientConfig,
        (topic, max_clock_skew, clock): (&str, Span, Clock),
    ) -> anyhow::Result<Self> {
        let state = ReportState {
            clocks: Clocks::new(max_clock_skew),
            topics: BTreeMap::new(),
            patterns: Vec::new(),
            listed: None,
        };
        Ok(Self {
            identity,
            health,
            reporter: Reporter::new(producer, topic, clock)?,
            shared: SharedState {
                inner: Arc::new(Mutex::new(state)),
            },
            clock,
        })
    }

    /// The state that workers share.
    #[must_use]
    pub fn shared(&self) -> SharedState {
        self.shared.clone()
    }

    /// Reports every few seconds until `stop`, then a last time.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut report = tokio::time::interval(INTERVAL);
        let mut samples = tokio::time::interval(SAMPLE_INTERVAL);
        loop {
            tokio::select! {
                _ = report.tick() => self.write(ProcessState::Running),
                _ = samples.tick() => {}
                () = stop.cancelled() => break,
            }
            while let Some(sample) = self.reporter.take_sample() {
                self.shared.state().clocks.add_broker_sample(sample);
            }
        }
        self.write(ProcessState::Stopped);
        // Flushing blocks.
        let flush = move || self.reporter.flush(LAST_REPORT_TIMEOUT);
        let _runtime_is_stopping = tokio::task::spawn_blocking(flush).await;
    }

    fn write(&mut self, state: ProcessState) {
        let mut report = self.identity.report(state, &self.health, self.clock.wall());
        let state = self.shared.state();
        report.sources.extend(state.patterns.iter().cloned());
        for topic in state.topics.values() {
            report.assignments.extend(topic.assignments.iter().cloned());
            report.sources.push(topic.progress.clone());
        }
        drop(state);
        self.reporter.write(&report);
    }
}
