//! Security event tokens that wait for a receiver to fetch them (RFC 8936).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::clock::Clock;

/// A token that has been fetched and not acknowledged is sent again after this long.
const REDELIVERY_INTERVAL: Duration = Duration::from_secs(30);

/// The tokens of a stream that have not been acknowledged. The attempts that wait for them bound
/// their number.
#[derive(Debug, Default)]
pub struct PollQueue {
    state: Mutex<QueueState>,
    arrived: Notify,
    clock: Clock,
}

#[derive(Debug, Default)]
struct QueueState {
    /// In the order of arrival.
    waiting: BTreeMap<u64, WaitingToken>,
    next: u64,
}

#[derive(Debug)]
struct WaitingToken {
    jti: Uuid,
    token: String,
    /// When it was last fetched.
    fetched_at: Option<Duration>,
    receipt: Option<oneshot::Sender<Receipt>>,
}

/// The receiver's word on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    Acknowledged,
    /// RFC 8935, section 2.4.
    Rejected {
        code: String,
        description: Option<String>,
    },
}

/// What a receiver fetches at once.
#[derive(Debug, PartialEq, Eq)]
pub struct FetchedTokens {
    pub tokens: BTreeMap<Uuid, String>,
    /// Whether there are more.
    pub more_available: bool,
}

/// Removes a token from the queue when its attempt ends.
struct Entry<'a> {
    queue: &'a PollQueue,
    number: u64,
}

impl PollQueue {
    /// Offers a token until the receiver has acknowledged or rejected it.
    pub async fn offer(&self, jti: Uuid, token: String) -> Receipt {
        let (receipt, received) = oneshot::channel();
        let _entry = Entry {
            queue: self,
            number: self.add(jti, token, Some(receipt)),
        };
        match received.await {
            Ok(receipt) => receipt,
            // The sender is dropped only with the entry.
            Err(_) => std::future::pending().await,
        }
    }

    /// Offers a token that nothing waits for. It replaces an earlier one.
    pub fn offer_verification(&self, jti: Uuid, token: String) {
        let mut state = self.state();
        state.waiting.retain(|_, waiting| waiting.receipt.is_some());
        drop(state);
        self.add(jti, token, None);
    }

    fn add(&self, jti: Uuid, token: String, receipt: Option<oneshot::Sender<Receipt>>) -> u64 {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let waiting = WaitingToken {
            jti,
            token,
            fetched_at: None,
            receipt,
        };
        state.waiting.insert(number, waiting);
        drop(state);
        self.arrived.notify_waiters();
        number
    }

    /// Resolves a token. An unknown one has been resolved before, or its attempt has ended.
    pub fn resolve(&self, jti: Uuid, receipt: &Receipt) {
        let mut state = self.state();
        let resolved = state
            .waiting
            .extract_if(.., |_, waiting| waiting.jti == jti);
        for sender in resolved.filter_map(|(_, waiting)| waiting.receipt) {
            // The attempt may have ended in this moment.
            let _ = sender.send(receipt.clone());
        }
    }

    /// Fetches up to `limit` tokens. Waits up to `hold` if there are none.
    pub async fn fetch(&self, limit: usize, hold: Duration) -> FetchedTokens {
        let deadline = tokio::time::sleep(hold);
        tokio::pin!(deadline);
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let batch = self.take(limit);
            if limit == 0 || hold.is_zero() || !batch.tokens.is_empty() {
                return batch;
            }
            tokio::select! {
                () = arrived => {}
                () = &mut deadline => return batch,
            }
        }
    }

    fn take(&self, limit: usize) -> FetchedTokens {
        let now = self.clock.elapsed();
        let mut state = self.state();
        let due = |waiting: &WaitingToken| {
            waiting
                .fetched_at
                .is_none_or(|at| now.saturating_sub(at) >= REDELIVERY_INTERVAL)
        };
        let mut due = state.waiting.values_mut().filter(|waiting| due(waiting));
        let mut tokens = BTreeMap::new();
        for waiting in due.by_ref().take(limit) {
            waiting.fetched_at = Some(now);
            tokens.insert(waiting.jti, waiting.token.clone());
        }
        let more_available = due.next().is_some();
        FetchedTokens {
            tokens,
            more_available,
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.queue.state().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;
    /// Longer than any test.
    const HOUR: Duration = Duration::from_secs(3_600);

    fn offer(queue: &Arc<PollQueue>, number: u128) -> tokio::task::JoinHandle<Receipt> {
        let queue = Arc::clone(queue);
        let jti = Uuid::from_u128(number);
        tokio::spawn(async move { queue.offer(jti, format!("token {number}")).await })
    }

    fn numbers(batch: &FetchedTokens) -> Vec<u128> {
        batch.tokens.keys().map(Uuid::as_u128).collect()
    }

    #[tokio::test]
    async fn tokens_are_fetched_once_until_they_are_resolved() {
        let queue = Arc::new(PollQueue::default());
        let first = offer(&queue, 1);
        assert_eq!(numbers(&queue.fetch(9, HOUR).await), [1]);
        let second = offer(&queue, 2);
        assert_eq!(numbers(&queue.fetch(9, HOUR).await), [2]);
        let rejected = Receipt::Rejected {
            code: "invalid_request".to_owned(),
            description: None,
        };
        queue.resolve(Uuid::from_u128(2), &rejected);
        assert_eq!(second.await.unwrap(), rejected);
        queue.resolve(Uuid::from_u128(1), &Receipt::Acknowledged);
        assert_eq!(first.await.unwrap(), Receipt::Acknowledged);
        assert!(queue.state().waiting.is_empty());
        queue.resolve(Uuid::from_u128(1), &Receipt::Acknowledged);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_and_counts_only_what_can_be_fetched() {
        let queue = PollQueue::default();
        for number in 1..=3 {
            queue.add(Uuid::from_u128(number), String::new(), None);
        }
        let none = queue.fetch(0, HOUR).await;
        assert_eq!((numbers(&none), none.more_available), (vec![], true));
        let batch = queue.fetch(2, AT_ONCE).await;
        assert_eq!((numbers(&batch), batch.more_available), (vec![1, 2], true));
        let batch = queue.fetch(2, AT_ONCE).await;
        assert_eq!((numbers(&batch), batch.more_available), (vec![3], false));
        assert!(queue.fetch(2, AT_ONCE).await.tokens.is_empty());
    }

    #[tokio::test]
    async fn an_attempt_that_ends_withdraws_its_token() {
        let queue = Arc::new(PollQueue::default());
        let offered = offer(&queue, 1);
        assert_eq!(numbers(&queue.fetch(9, HOUR).await), [1]);
        offered.abort();
        assert!(offered.await.unwrap_err().is_cancelled());
        assert!(queue.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_verification_replaces_an_earlier_one_alone() {
        let queue = Arc::new(PollQueue::default());
        let offered = offer(&queue, 1);
        queue.offer_verification(Uuid::from_u128(2), String::new());
        queue.offer_verification(Uuid::from_u128(3), String::new());
        tokio::task::yield_now().await;
        assert_eq!(numbers(&queue.fetch(9, HOUR).await), [1, 3]);
        offered.abort();
    }
}
