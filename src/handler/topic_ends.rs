//! The end offsets of a topic, listed once for all consumers that read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::kafka::end_offsets::EndOffsetWatch;

/// The latest end offsets of a topic. Clones share them.
#[derive(Clone, Debug)]
pub struct TopicEnds(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    watch: EndOffsetWatch,
    /// The partitions of each consumer, by its group.
    owned: BTreeMap<String, Vec<i32>>,
    latest: BTreeMap<i32, i64>,
}

impl TopicEnds {
    #[must_use]
    pub fn new(watch: EndOffsetWatch) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            watch,
            owned: BTreeMap::new(),
            latest: BTreeMap::new(),
        })))
    }

    /// Sets the partitions of the consumer in `group`, and returns the latest end offsets.
    /// Partitions may be missing.
    #[must_use]
    pub fn latest(&self, group: &str, owned: Vec<i32>) -> BTreeMap<i32, i64> {
        // Every step leaves valid data behind, whatever panics.
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.owned.insert(group.to_owned(), owned);
        let watched: BTreeSet<i32> = shared.owned.values().flatten().copied().collect();
        shared.watch.watch(watched.into_iter().collect());
        if let Some(answer) = shared.watch.poll() {
            shared.latest = answer.ends.into_iter().collect();
        }
        shared.latest.clone()
    }
}
