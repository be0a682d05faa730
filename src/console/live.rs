//! The current state of the installation, bounded and in memory.
//!
//! | state | file |
//! |---|---|
//! | processes, from their reports | `processes.rs` |
//! | rates of the last 15 minutes, for charts | `history.rs` |
//! | the newest terminal events and dead letters | `tail.rs` |
//! | lag of the consumer groups, from the brokers | `lag.rs` |
//! | whether the brokers answer | `connection.rs` |

pub mod actions;
pub mod connection;
pub mod group_lag;
pub mod history;
pub mod lag;
pub mod pauses;
pub mod processes;
pub mod tail;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::kafka::Topics;
use crate::kafka::topic_feed::TopicEvent;
use crate::policy::store::PolicyStore;
use crate::processes::ProcessReport;
use crate::session::Timestamp;
use crate::source::topic::SourceStore;
use crate::wire::dead_letter::{PROCESSED, REASON};
use crate::wire::terminal::SessionEnded;
use group_lag::GroupLag;
use history::History;
use processes::Processes;
use tail::TailRecord;

/// Limit on the terminal events kept.
pub const MAX_TERMINAL_EVENTS: usize = 500;
/// Limit on the dead letters kept.
pub const MAX_DEAD_LETTERS: usize = 500;

/// A handle to the live state, shared by the readers that update it and the pages that show it.
#[derive(Clone, Debug)]
pub struct Live {
    state: Arc<RwLock<LiveState>>,
    changed: watch::Sender<()>,
    clock: Clock,
}

/// The current state of the installation.
#[derive(Debug, Default)]
pub struct LiveState {
    pub processes: Processes,
    pub history: History,
    /// The policies of the policy topic.
    pub policies: PolicyStore,
    /// The sources of the policy topic.
    pub sources: SourceStore,
    /// The newest terminal events, newest first.
    pub terminal_events: VecDeque<(TailRecord, SessionEnded)>,
    /// The newest dead letters of both topics, newest first.
    pub dead_letters: VecDeque<TailRecord>,
    /// Lag of the tracker group, then of the handler group; empty until the brokers have
    /// answered.
    pub group_lags: Vec<GroupLag>,
    /// The error of the latest request to the brokers, if it failed.
    pub kafka_error: Option<String>,
}

impl Live {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(()),
            clock,
        }
    }

    /// Locks the state for reading. Release it soon: updates wait.
    pub fn state(&self) -> RwLockReadGuard<'_, LiveState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to changes of the state.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The time that pages show others relative to.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Changes the state and notifies all subscribers.
    pub fn update(&self, change: impl FnOnce(&mut LiveState)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
    }

    /// Applies process reports until their reader ends.
    pub async fn apply_reports(self, mut reports: Receiver<TopicEvent>) {
        let mut caught_up = false;
        while let Some(event) = reports.recv().await {
            let TopicEvent::Record(record) = event else {
                caught_up = true;
                continue;
            };
            let Some(report) = parse_report(record.value.as_deref()) else {
                continue;
            };
            // A report read at the end of the topic is current, whatever the clocks of the
            // brokers. Only the brokers' timestamps date those read before.
            let now = self.now();
            let reported_at = if caught_up {
                now
            } else {
                record.timestamp.min(now)
            };
            self.update(|state| state.apply_report(&report, reported_at, now));
        }
    }

    /// Applies the records of policies and sources until their reader ends.
    pub async fn apply_policies(self, mut records: Receiver<TopicEvent>) {
        while let Some(event) = records.recv().await {
            if let TopicEvent::Record(record) = event {
                self.update(|state| {
                    // The previous version stays active; trackers log the error as well.
                    if let Err(error) = state.policies.apply(&record) {
                        tracing::warn!(%error, "cannot use a policy record");
                    }
                    let (key, value) = (record.key.as_deref(), record.value.as_deref());
                    if let Err(error) = state.sources.apply(key, value) {
                        tracing::warn!(%error, "cannot use the record of a source");
                    }
                });
            }
        }
    }

    /// Applies terminal events and dead letters until their reader ends.
    pub async fn apply_tail(self, mut records: Receiver<TailRecord>, topics: Topics) {
        while let Some(record) = records.recv().await {
            self.update(|state| state.apply_record(record, &topics));
        }
    }
}

impl LiveState {
    fn apply_report(&mut self, report: &ProcessReport, reported_at: Timestamp, now: Timestamp) {
        let previous = self.processes.insert(report.clone(), reported_at);
        let previous = previous.as_ref().map(|one| (&one.report, one.reported_at));
        self.history.record(previous, report, reported_at);
        self.processes.evict(now);
    }

    fn apply_record(&mut self, record: TailRecord, topics: &Topics) {
        if record.topic == topics.expired_sessions {
            let value = record.value.as_deref().unwrap_or_default();
            // The handler moves records that do not parse to the dead-letter topic.
            if let Ok(ended) = serde_json::from_slice(value) {
                self.terminal_events.push_front((record, ended));
                self.terminal_events.truncate(MAX_TERMINAL_EVENTS);
            }
        } else if let Some(offset) = processed_offset(&record) {
            let processed = (&record.topic, record.partition, offset);
            self.dead_letters
                .retain(|one| (&one.topic, one.partition, one.offset) != processed);
        } else {
            self.dead_letters.push_front(record);
            self.dead_letters.truncate(MAX_DEAD_LETTERS);
        }
    }
}

/// The offset of the dead letter that a marker record marks as processed; `None` for a dead
/// letter.
fn processed_offset(record: &TailRecord) -> Option<i64> {
    // A dead letter has the headers of its source record, whatever they are called.
    if record.last_header(REASON).is_some() {
        return None;
    }
    record.last_header(PROCESSED)?.parse().ok()
}

fn parse_report(value: Option<&[u8]>) -> Option<ProcessReport> {
    let report = serde_json::from_slice(value?);
    if let Err(error) = &report {
        tracing::debug!(%error, "cannot parse a process report");
    }
    report.ok()
}
