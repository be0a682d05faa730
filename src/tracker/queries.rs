//! Questions about live sessions, from the admin port to the loop that owns them.
//!
//! The loop answers between two bursts of events. What takes one lookup it answers at once;
//! the sessions of a user it looks for in steps, one a round, so that events never wait for
//! a question. Whoever asks waits no longer than [`PATIENCE`].

pub mod http;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::engine::Engine;
use crate::session::UserId;
use crate::session_lookup::{Answer, FoundSession, MAX_SESSIONS, PartitionState};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that may wait; further ones are refused.
const QUEUE: usize = 16;
/// Places of a table that are gone through in one round of the loop: well under a
/// millisecond's worth.
const STEP: usize = 16_384;

/// Which sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The one of this id.
    Session(String),
    /// Those of this user.
    SessionsOf(UserId),
}

/// Where to ask. Clones lead to the same loop.
#[derive(Clone, Debug)]
pub struct Handle(SyncSender<PendingQuery>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too many ask at once.
    #[error("the tracker has {QUEUE} questions to answer already: try again in a moment")]
    Busy,
    /// It takes too long.
    #[error(
        "the tracker has not answered within {} s: it is starting, in a rebalance or very busy; try again in a moment",
        PATIENCE.as_secs()
    )]
    Late,
}

/// A question, and whom to answer.
#[derive(Debug)]
pub struct PendingQuery {
    query: Query,
    answer: oneshot::Sender<Answer>,
}

/// Answers questions, on the loop.
#[derive(Debug)]
pub struct Executor {
    questions: Receiver<PendingQuery>,
    search: Option<Search>,
}

/// A question that takes several rounds.
#[derive(Debug)]
struct Search {
    question: PendingQuery,
    user: UserId,
    /// The partitions that have not been gone through to their end.
    left: VecDeque<i32>,
    /// The place in the first of them.
    place: u32,
    answer: Answer,
}

/// A handle, and who sits at it.
#[must_use]
pub fn open() -> (Handle, Executor) {
    let (sender, questions) = sync_channel(QUEUE);
    let executor = Executor {
        questions,
        search: None,
    };
    (Handle(sender), executor)
}

impl Handle {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`QueryError`] if there is none in time.
    pub async fn ask(&self, query: Query) -> Result<Answer, QueryError> {
        let (sender, receiver) = oneshot::channel();
        let question = PendingQuery {
            query,
            answer: sender,
        };
        self.0.try_send(question).map_err(|_| QueryError::Busy)?;
        match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(QueryError::Late),
        }
    }
}

impl Executor {
    /// Answers what can be answered in no time, and gets one step on with the rest.
    pub fn serve(&mut self, engine: &Engine) {
        if let Some(search) = self.search.take() {
            self.search = search.step(engine);
            return;
        }
        for question in self.questions.try_iter() {
            // Nobody waits for it any more.
            if question.answer.is_closed() {
                continue;
            }
            match &question.query {
                Query::Session(id) => {
                    let answer = look_up(engine, id);
                    // As above.
                    let _gone = question.answer.send(answer);
                }
                Query::SessionsOf(user) => {
                    let user = user.clone();
                    self.search = Search::new(question, user, engine).step(engine);
                    return;
                }
            }
        }
    }
}

impl Search {
    fn new(question: PendingQuery, user: UserId, engine: &Engine) -> Self {
        let answer = nothing_found(engine);
        let live = answer.partitions.iter().filter(|one| !one.restoring);
        Self {
            left: live.map(|one| one.partition).collect(),
            place: 0,
            question,
            user,
            answer,
        }
    }

    /// Goes a step on; nothing if that was the last.
    fn step(mut self, engine: &Engine) -> Option<Self> {
        if self.question.answer.is_closed() {
            return None;
        }
        let Some(&number) = self.left.front() else {
            // As above: it may have been closed in between.
            let _gone = self.question.answer.send(self.answer);
            return None;
        };
        let next = match engine.live_partition(number) {
            Some(partition) => {
                let (mut found, room) = (Vec::new(), MAX_SESSIONS - self.answer.sessions.len());
                let next = partition.search(&self.user, self.place, STEP, room, &mut found);
                let found = found.iter().map(|one| FoundSession::new(one, number));
                self.answer.sessions.extend(found);
                next
            }
            None => {
                // Taken away since, or being restored: what it holds is not known.
                self.answer.lost(number);
                None
            }
        };
        if self.answer.sessions.len() >= MAX_SESSIONS {
            self.answer.more = next.is_some() || self.left.len() > 1;
            self.left.clear();
        } else if next.is_none() {
            self.left.pop_front();
        }
        self.place = next.unwrap_or_default();
        Some(self)
    }
}

impl Answer {
    fn lost(&mut self, partition: i32) {
        let mut partitions = self.partitions.iter_mut();
        if let Some(one) = partitions.find(|one| one.partition == partition) {
            one.restoring = true;
        }
        self.sessions.retain(|one| one.partition != partition);
    }
}

/// Looks on all partitions: the record's key, which need not be the session's id, has
/// decided which of them it is on.
fn look_up(engine: &Engine, id: &str) -> Answer {
    let mut answer = nothing_found(engine);
    for (number, partition) in engine.assigned() {
        let found = partition.and_then(|partition| partition.look_up(id));
        let found = found.map(|live| FoundSession::new(&live, number));
        answer.sessions.extend(found);
    }
    answer
}

fn nothing_found(engine: &Engine) -> Answer {
    let partitions = engine
        .assigned()
        .map(|(partition, live)| PartitionState {
            partition,
            restoring: live.is_none(),
        })
        .collect();
    Answer {
        partitions,
        ..Answer::default()
    }
}
