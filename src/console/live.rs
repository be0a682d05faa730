//! What the console knows: fed by topics, kept in memory, bounded.
//!
//! | part | file |
//! |---|---|
//! | the processes, by their reports | `processes.rs` |
//! | the last quarter of an hour, for charts | `history.rs` |
//! | the newest records of some topics | `tail.rs` |
//! | how far consumer groups are behind, as the brokers see it | `lag.rs` |

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
use crate::wire::dead_letter::PROCESSED;
use crate::wire::terminal::SessionEnded;
use group_lag::GroupLag;
use history::History;
use processes::Processes;
use tail::TailRecord;

/// How many terminal events are kept.
pub const MAX_ENDINGS: usize = 500;
/// How many dead letters are kept.
pub const MAX_LETTERS: usize = 500;

/// What the console knows, shared by those who feed it and those who show it.
#[derive(Clone, Debug)]
pub struct Live {
    state: Arc<RwLock<State>>,
    changed: watch::Sender<()>,
    clock: Clock,
}

/// What the console knows.
#[derive(Debug, Default)]
pub struct State {
    /// The processes.
    pub processes: Processes,
    /// The last quarter of an hour.
    pub history: History,
    /// The policies that the topic holds.
    pub policies: PolicyStore,
    /// The newest terminal events, the newest first.
    pub endings: VecDeque<(TailRecord, SessionEnded)>,
    /// The newest dead letters of both topics, the newest first.
    pub letters: VecDeque<TailRecord>,
    /// How far the groups are behind, trackers' first; empty before the brokers were asked.
    pub lags: Vec<GroupLag>,
    /// Why the brokers do not answer, while they do not.
    pub trouble: Option<String>,
}

impl Live {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            state: Arc::default(),
            changed: watch::Sender::new(()),
            clock,
        }
    }

    /// What is known now; not to be held for long.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The time that everything is shown relative to.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Changes what is known, and tells everyone.
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
    }

    /// Takes in process reports for as long as there are any.
    pub async fn follow_processes(&self, mut reports: Receiver<TopicEvent>) {
        let mut live = false;
        while let Some(news) = reports.recv().await {
            let TopicEvent::Record(record) = news else {
                live = true;
                continue;
            };
            let Some(report) = parse_report(record.value.as_deref()) else {
                continue;
            };
            // What has just been written has just been said, whatever the brokers' clock
            // shows; of what was there before, their time is all there is.
            let now = self.now();
            let at = if live { now } else { record.timestamp.min(now) };
            self.update(|state| state.reported(&report, at, now));
        }
    }

    /// Takes in policies for as long as there are any.
    pub async fn follow_policies(&self, mut records: Receiver<TopicEvent>) {
        while let Some(news) = records.recv().await {
            if let TopicEvent::Record(record) = news {
                self.update(|state| {
                    // What was in force stays so; the trackers say the same in their logs.
                    if let Err(error) = state.policies.apply(&record) {
                        tracing::warn!(%error, "rejected a policy record");
                    }
                });
            }
        }
    }

    /// Takes in terminal events and dead letters for as long as there are any.
    pub async fn follow_tails(&self, mut records: Receiver<TailRecord>, topics: Topics) {
        while let Some(record) = records.recv().await {
            self.update(|state| state.appended(record, &topics));
        }
    }
}

impl State {
    fn reported(&mut self, report: &ProcessReport, at: Timestamp, now: Timestamp) {
        let before = self.processes.take(report.clone(), at);
        let before = before.as_ref().map(|before| (&before.report, before.seen));
        self.history.take(before, report, at);
        self.processes.forget(now);
    }

    fn appended(&mut self, record: TailRecord, topics: &Topics) {
        if record.topic == topics.expired_sessions {
            let value = record.value.as_deref().unwrap_or_default();
            // What is no terminal event, the handler sends to the dead-letter topic.
            if let Ok(ended) = serde_json::from_slice(value) {
                self.endings.push_front((record, ended));
                self.endings.truncate(MAX_ENDINGS);
            }
        } else if let Some(processed) = processed(&record) {
            // A marker: somebody has dealt with the letter before it.
            let place = (record.topic, record.partition, processed);
            self.letters.retain(|one| {
                (&one.topic, one.partition, one.offset) != (&place.0, place.1, place.2)
            });
        } else {
            self.letters.push_front(record);
            self.letters.truncate(MAX_LETTERS);
        }
    }
}

/// The offset of the letter that a record says has been dealt with.
fn processed(record: &TailRecord) -> Option<i64> {
    record.last_header(PROCESSED)?.parse().ok()
}

fn parse_report(value: Option<&[u8]>) -> Option<ProcessReport> {
    let report = serde_json::from_slice(value?);
    if let Err(error) = &report {
        tracing::debug!(%error, "a process report cannot be read");
    }
    report.ok()
}
