//! Order within a key, concurrency across keys.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The most tasks that wait for the next key.
const MAX_IDLE: usize = 256;

/// Runs items sequentially within a key and concurrently across keys. A key has a task only
/// while it has items; then the task takes another key, since a task costs more than a short run.
///
/// The number of items is unbounded here; the caller bounds it.
pub struct Lanes<K, T, F>
where
    K: Eq + Hash,
{
    runtime: Handle,
    queues: Arc<LaneQueues<K, T, F>>,
}

struct LaneQueues<K, T, F> {
    run: F,
    state: Mutex<LaneState<K, T>>,
}

struct LaneState<K, T> {
    /// For each key with a running item, the items queued behind it.
    queued: HashMap<K, VecDeque<T>>,
    /// Tasks without a key. The last one to finish is the first to go on.
    idle: Vec<oneshot::Sender<(K, T)>>,
}

impl<K, T, F, Fut> Lanes<K, T, F>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Send + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    /// Creates lanes that run items with `run` on `runtime`. `run` must not panic.
    pub fn new(runtime: Handle, run: F) -> Self {
        let state = Mutex::new(LaneState {
            queued: HashMap::new(),
            idle: Vec::new(),
        });
        let queues = Arc::new(LaneQueues { run, state });
        Self { runtime, queues }
    }

    /// Runs `item` after all items spawned before it under `key`.
    pub fn spawn(&self, key: K, item: T) {
        let mut state = self.queues.lock();
        if let Some(behind) = state.queued.get_mut(&key) {
            behind.push_back(item);
            return;
        }
        state.queued.insert(key.clone(), VecDeque::new());
        let mut lane = (key, item);
        while let Some(idle) = state.idle.pop() {
            match idle.send(lane) {
                Ok(()) => return,
                // Its runtime is shutting down.
                Err(unsent) => lane = unsent,
            }
        }
        drop(state);
        let queues = Arc::clone(&self.queues);
        self.runtime.spawn(async move {
            let mut next = Some(lane);
            while let Some((key, item)) = next {
                queues.run_lane(key, item).await;
                next = queues.next_lane().await;
            }
        });
    }
}

impl<K, T, F, Fut> LaneQueues<K, T, F>
where
    K: Eq + Hash,
    F: Fn(T) -> Fut,
    Fut: Future<Output = ()>,
{
    async fn run_lane(&self, key: K, item: T) {
        let mut next = Some(item);
        while let Some(item) = next {
            (self.run)(item).await;
            next = self.next(&key);
        }
    }
}

impl<K: Eq + Hash, T, F> LaneQueues<K, T, F> {
    /// Returns the next item of a lane. A lane without one is closed under the same lock, so no
    /// item is left behind in it.
    fn next(&self, key: &K) -> Option<T> {
        let mut state = self.lock();
        let next = state.queued.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            state.queued.remove(key);
        }
        next
    }

    /// Waits for the next lane; `None` if enough tasks wait, or there will be no more lanes.
    async fn next_lane(&self) -> Option<(K, T)> {
        let receiver = {
            let mut state = self.lock();
            if state.idle.len() >= MAX_IDLE {
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            state.idle.push(sender);
            receiver
        };
        receiver.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, LaneState<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, T, F> Drop for Lanes<K, T, F> {
    fn drop(&mut self) {
        // Ends the tasks that wait.
        self.queues.lock().idle.clear();
    }
}

impl<K: Eq + Hash, T, F> fmt::Debug for Lanes<K, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Barrier, mpsc};

    use super::*;

    #[tokio::test]
    async fn keys_run_concurrently() {
        // The barrier opens only for all three at once.
        let barrier = Arc::new(Barrier::new(3));
        let lanes = Lanes::new(Handle::current(), {
            let barrier = Arc::clone(&barrier);
            move |_item: ()| {
                let barrier = Arc::clone(&barrier);
                async move {
                    barrier.wait().await;
                }
            }
        });
        lanes.spawn("a", ());
        lanes.spawn("b", ());
        barrier.wait().await;
    }

    #[tokio::test]
    async fn tasks_without_a_key_wait_for_the_next_one_until_there_are_none() {
        let (done, mut seen) = mpsc::unbounded_channel();
        let lanes = Lanes::new(Handle::current(), move |item: u32| {
            let done = done.clone();
            async move { done.send((item, tokio::task::id())).unwrap() }
        });
        let mut tasks = Vec::new();
        for item in 0..3 {
            lanes.spawn(item, item);
            let (ran, task) = seen.recv().await.unwrap();
            assert_eq!(ran, item);
            tasks.push(task);
            while lanes.queues.lock().idle.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert!(tasks.iter().all(|task| *task == tasks[0]), "{tasks:?}");
        let queues = Arc::downgrade(&lanes.queues);
        drop(lanes);
        while queues.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_keeps_its_order_and_leaves_nothing_behind() {
        let (done, mut seen) = mpsc::unbounded_channel();
        let lanes = Lanes::new(Handle::current(), move |item: (u32, u32)| {
            let done = done.clone();
            async move {
                tokio::task::yield_now().await;
                done.send(item).unwrap();
            }
        });
        let (keys, items) = (7, 300);
        for item in 0..items {
            for key in 0..keys {
                lanes.spawn(key, (key, item));
            }
            // Lets lanes drain and close in between.
            tokio::task::yield_now().await;
        }
        let mut next = vec![0; keys as usize];
        for _ in 0..keys * items {
            let (key, item) = seen.recv().await.unwrap();
            assert_eq!(item, next[key as usize]);
            next[key as usize] += 1;
        }
        assert_eq!(next, vec![items; keys as usize]);
        while !lanes.queues.lock().queued.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
