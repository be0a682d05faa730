//! Queries about live sessions, from the admin port to the loop that owns them.
//!
//! The loop answers between two bursts of records. It answers a lookup by session id at once. A
//! search for the sessions of a user proceeds in steps, one per round, so that records never
//! wait for a query. A request waits up to [`RESPONSE_TIMEOUT`].

pub mod http;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::engine::Engine;
use super::partition::Partition;
use crate::session::{CutOffScope, EndingCount, Lookup, Policy, PolicySet, SessionId, UserId};
use crate::session_lookup::{
    ENDINGS_AHEAD, EndedSession, FoundSession, LookupResponse, MAX_SESSIONS, SearchedPartition,
};

/// How long a response may take.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on queued queries; further ones are refused.
const QUEUE: usize = 16;
/// Table slots searched in one round of the loop: well under a millisecond's worth.
const STEP: usize = 16_384;
/// Table slots counted in one round: some milliseconds' worth, so that ten million sessions are
/// counted within [`RESPONSE_TIMEOUT`] by an idle loop too.
const COUNT_STEP: usize = 131_072;

/// The sessions to look up.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// The session with this id.
    Session(String),
    /// The sessions of this user.
    SessionsOf(UserId),
    /// The number of sessions in scope, without one.
    Count {
        scope: CutOffScope,
        except: Option<SessionId>,
    },
    /// The number of sessions that changes of policies would end within [`ENDINGS_AHEAD`]: by name, the
    /// changed policy or `None` for a deleted one.
    Endings(Vec<(String, Option<Policy>)>),
}

/// Sends queries to the loop. Clones share its queue.
#[derive(Clone, Debug)]
pub struct Handle(SyncSender<PendingQuery>);

/// Why a query has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The queue is full.
    #[error("{QUEUE} queries already wait for the tracker; retry in a moment")]
    Busy,
    /// The response timed out.
    #[error(
        "the tracker did not answer within {} s because it is starting, rebalancing or overloaded; retry in a moment",
        RESPONSE_TIMEOUT.as_secs()
    )]
    TimedOut,
}

/// A query and its response channel.
#[derive(Debug)]
pub struct PendingQuery {
    query: Query,
    sender: oneshot::Sender<LookupResponse>,
}

/// Answers queries, on the loop.
#[derive(Debug)]
pub struct Executor {
    pending: Receiver<PendingQuery>,
    search: Option<Search>,
}

/// A query that takes several rounds.
#[derive(Debug)]
struct Search {
    sender: oneshot::Sender<LookupResponse>,
    query: Query,
    /// Sessions counted on the first of the partitions left.
    counted: EndingCount,
    /// The policies with the changes of the query.
    changed: Option<PolicySet>,
    /// Partitions that have not been searched to their end.
    left: VecDeque<i32>,
    /// The next slot in the first of them.
    slot: u32,
    response: LookupResponse,
}

/// Creates the two ends of a queue of queries.
#[must_use]
pub fn channel() -> (Handle, Executor) {
    let (sender, pending) = sync_channel(QUEUE);
    let executor = Executor {
        pending,
        search: None,
    };
    (Handle(sender), executor)
}

impl Handle {
    /// Sends a query and waits for the response.
    ///
    /// # Errors
    /// [`QueryError`] if there is none in time.
    pub async fn query(&self, query: Query) -> Result<LookupResponse, QueryError> {
        let (sender, receiver) = oneshot::channel();
        let pending = PendingQuery { query, sender };
        self.0.try_send(pending).map_err(|_| QueryError::Busy)?;
        match tokio::time::timeout(RESPONSE_TIMEOUT, receiver).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) | Err(_) => Err(QueryError::TimedOut),
        }
    }
}

impl Executor {
    /// Takes the next step of a search, or answers pending lookups up to the next search.
    pub fn run(&mut self, engine: &Engine) {
        if let Some(search) = self.search.take() {
            self.search = search.step(engine);
            return;
        }
        for PendingQuery { query, sender } in self.pending.try_iter() {
            // The request has timed out or was canceled.
            if sender.is_closed() {
                continue;
            }
            match query {
                Query::Session(id) => {
                    let _closed = sender.send(look_up(engine, &id));
                }
                query @ (Query::SessionsOf(_) | Query::Count { .. } | Query::Endings(_)) => {
                    self.search = Search::new(sender, query, engine).step(engine);
                    return;
                }
            }
        }
    }
}

impl Search {
    fn new(sender: oneshot::Sender<LookupResponse>, query: Query, engine: &Engine) -> Self {
        let response = empty_response(engine);
        let live = response.partitions.iter().filter(|one| !one.restoring);
        Self {
            left: live.map(|one| one.partition).collect(),
            slot: 0,
            counted: EndingCount::default(),
            changed: None,
            sender,
            query,
            response,
        }
    }

    /// Takes a step; none if it was the last.
    fn step(mut self, engine: &Engine) -> Option<Self> {
        if self.sender.is_closed() {
            return None;
        }
        let Some(&number) = self.left.front() else {
            let _closed = self.sender.send(self.response);
            return None;
        };
        let next = match engine.live_partition(number) {
            Some(partition) => self.search(partition, number),
            None => {
                // Revoked or being restored since the search began, so its sessions are unknown.
                self.response.drop_partition(number);
                self.counted = EndingCount::default();
                self.changed = None;
                None
            }
        };
        if self.response.sessions.len() >= MAX_SESSIONS {
            self.response.more = next.is_some() || self.left.len() > 1;
            self.left.clear();
        } else if next.is_none() {
            self.left.pop_front();
            let counted = std::mem::take(&mut self.counted);
            self.response.live += counted.live;
            self.response.count += counted.ending;
            self.changed = None;
        }
        self.slot = next.unwrap_or_default();
        Some(self)
    }

    /// Searches the next slots of a partition; returns where to resume.
    fn search(&mut self, partition: &Partition, number: i32) -> Option<u32> {
        match &self.query {
            Query::SessionsOf(user) => {
                let mut found = Vec::new();
                let room = MAX_SESSIONS - self.response.sessions.len();
                let next = partition.search(user, self.slot, STEP, room, &mut found);
                let found = found.iter().map(|one| FoundSession::new(one, number));
                self.response.sessions.extend(found);
                next
            }
            Query::Count { scope, except } => {
                let except = except.as_ref();
                let (count, next) = partition.count(scope, except, self.slot, COUNT_STEP);
                self.counted.ending += count;
                next
            }
            Query::Endings(changes) => {
                let changed = match self.changed.take() {
                    Some(changed) => changed,
                    None => {
                        let named = changes.iter();
                        let named = named.map(|(name, policy)| (name.as_str(), policy.clone()));
                        let changed = partition.policies().with_changes(named);
                        // More policies than the limit are never published, so that they end none.
                        changed.unwrap_or_else(|_| PolicySet::clone(partition.policies()))
                    }
                };
                let slots = (self.slot, slots_matched(changed.iter().count()));
                let next =
                    partition.count_ending(&changed, ENDINGS_AHEAD, slots, &mut self.counted);
                self.changed = Some(changed);
                next
            }
            Query::Session(_) => None,
        }
    }
}

/// Slots whose sessions are matched with this many policies in one round: fewer with more of them.
fn slots_matched(policies: usize) -> usize {
    const QUICK: usize = 16;
    (COUNT_STEP / policies.div_ceil(QUICK).max(1)).max(STEP / 4)
}

impl LookupResponse {
    fn drop_partition(&mut self, partition: i32) {
        let mut partitions = self.partitions.iter_mut();
        if let Some(one) = partitions.find(|one| one.partition == partition) {
            one.restoring = true;
        }
        self.sessions.retain(|one| one.partition != partition);
        self.ended.retain(|one| one.partition != partition);
    }
}

/// Looks on all partitions: the record's key decides on which one a session is, and the key need
/// not be the session's id.
fn look_up(engine: &Engine, id: &str) -> LookupResponse {
    let mut response = empty_response(engine);
    for (number, partition) in engine.assigned() {
        match partition.map(|partition| partition.look_up(id)) {
            Some(Lookup::Live(live)) => {
                response.sessions.push(FoundSession::new(&live, number));
            }
            Some(Lookup::Ended(ended)) => {
                response.ended.push(EndedSession::new(id, ended, number));
            }
            Some(Lookup::Unknown) | None => {}
        }
    }
    response
}

fn empty_response(engine: &Engine) -> LookupResponse {
    let partitions = engine
        .assigned()
        .map(|(partition, live)| SearchedPartition {
            partition,
            restoring: live.is_none(),
        })
        .collect();
    LookupResponse {
        partitions,
        ..LookupResponse::default()
    }
}
