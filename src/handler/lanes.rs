//! Order within a key, concurrency across keys.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

/// Runs items sequentially within a key and concurrently across keys. A key has a task only
/// while it has items.
///
/// The number of items is unbounded here; the caller bounds it.
pub struct Lanes<K, T, F> {
    runtime: Handle,
    queues: Arc<LaneQueues<K, T, F>>,
}

struct LaneQueues<K, T, F> {
    run: F,
    /// For each key with a running item, the items queued behind it.
    queued: Mutex<HashMap<K, VecDeque<T>>>,
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
        let queued = Mutex::default();
        let queues = Arc::new(LaneQueues { run, queued });
        Self { runtime, queues }
    }

    /// Runs `item` after all items spawned before it under `key`.
    pub fn spawn(&self, key: K, item: T) {
        let mut queued = self.queues.lock();
        if let Some(behind) = queued.get_mut(&key) {
            behind.push_back(item);
            return;
        }
        queued.insert(key.clone(), VecDeque::new());
        let queues = Arc::clone(&self.queues);
        self.runtime.spawn(async move {
            let mut next = Some(item);
            while let Some(item) = next {
                (queues.run)(item).await;
                next = queues.next(&key);
            }
        });
    }
}

impl<K: Eq + Hash, T, F> LaneQueues<K, T, F> {
    /// Returns the next item of a lane. A lane without one is closed under the same lock, so no
    /// item is left behind in it.
    fn next(&self, key: &K) -> Option<T> {
        let mut queued = self.lock();
        let next = queued.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            queued.remove(key);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, VecDeque<T>>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T, F> fmt::Debug for Lanes<K, T, F> {
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
        while !lanes.queues.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
