//! Order within a key, concurrency across keys.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

/// Runs items one after the other within a key, and side by side across keys. A key has a
/// task only while it has items.
///
/// Whoever feeds it bounds how many items there are; this does not.
pub struct Lanes<K, T, F> {
    runtime: Handle,
    shared: Arc<Shared<K, T, F>>,
}

struct Shared<K, T, F> {
    run: F,
    /// What waits behind the running item, for each key that has one.
    waiting: Mutex<HashMap<K, VecDeque<T>>>,
}

impl<K, T, F, Fut> Lanes<K, T, F>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Send + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    /// Lanes that run items with `run`, which must not panic, on `runtime`.
    pub fn new(runtime: Handle, run: F) -> Self {
        let waiting = Mutex::default();
        let shared = Arc::new(Shared { run, waiting });
        Self { runtime, shared }
    }

    /// Runs `item` once everything accepted before it under `key` has run.
    pub fn accept(&self, key: K, item: T) {
        let mut waiting = self.shared.waiting();
        if let Some(behind) = waiting.get_mut(&key) {
            behind.push_back(item);
            return;
        }
        waiting.insert(key.clone(), VecDeque::new());
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let mut next = Some(item);
            while let Some(item) = next {
                (shared.run)(item).await;
                next = shared.next(&key);
            }
        });
    }
}

impl<K: Eq + Hash, T, F> Shared<K, T, F> {
    /// The next item of a lane; a lane without one is closed under the same lock, so that
    /// none can be left behind in it.
    fn next(&self, key: &K) -> Option<T> {
        let mut waiting = self.waiting();
        let next = waiting.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.remove(key);
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<K, VecDeque<T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn keys_run_side_by_side() {
        // Nobody passes the barrier alone.
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
        lanes.accept("a", ());
        lanes.accept("b", ());
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
                lanes.accept(key, (key, item));
            }
            // Lets lanes run dry and close in between.
            tokio::task::yield_now().await;
        }
        let mut next = vec![0; keys as usize];
        for _ in 0..keys * items {
            let (key, item) = seen.recv().await.unwrap();
            assert_eq!(item, next[key as usize]);
            next[key as usize] += 1;
        }
        assert_eq!(next, vec![items; keys as usize]);
        while !lanes.shared.waiting().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
