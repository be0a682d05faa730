//! The consumer of a simulated tracker.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::cluster::{Cluster, Place};
use crate::log::Record;

/// The partitions that a consumer holds.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    fetches: BTreeMap<i32, Fetch>,
    /// Whether it reads from a leader that has been deposed and does not know it.
    pub(crate) is_misled: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fetch {
    /// Where it is to be read.
    position: Option<i64>,
    /// Once it has been paused: how many records had been fetched before, and are delivered
    /// all the same.
    under_way: Option<u8>,
}

impl Fetch {
    /// Whether another record may be delivered.
    fn goes_on(&mut self) -> bool {
        match &mut self.under_way {
            None => true,
            Some(0) => {
                self.position = None;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What a poll brings.
pub(crate) enum Polled {
    Record(i32, Record),
    OutOfRange,
}

impl Consumer {
    /// The next record of any partition, or that one of them has been deleted away.
    pub(crate) fn poll(&mut self, cluster: &Cluster, rng: &mut ChaCha8Rng) -> Option<Polled> {
        if !cluster.up {
            return None;
        }
        let first = rng.random_range(0..=self.fetches.len());
        let (before, after): (Vec<_>, Vec<_>) = self
            .fetches
            .iter_mut()
            .enumerate()
            .partition(|(number, _)| *number < first);
        for (_, (&partition, fetch)) in after.into_iter().chain(before) {
            let Some(position) = fetch.position.filter(|_| fetch.goes_on()) else {
                continue;
            };
            let log = cluster.log(Place::Source(partition));
            let is_outside = position < log.start || position > log.end;
            if is_outside && fetch.under_way.is_none() {
                fetch.position = None;
                return Some(Polled::OutOfRange);
            }
            let deposed = self.is_misled.then(|| cluster.brokers.deposed(partition));
            let (stable_end, _) = deposed.flatten().unwrap_or((i64::MAX, i64::MAX));
            let next = log.next(position);
            if let Some(record) = next.filter(|record| record.offset < stable_end) {
                fetch.position = Some(record.offset + 1);
                return Some(Polled::Record(partition, record.clone()));
            }
        }
        None
    }

    /// The partitions that it holds.
    pub(crate) fn held(&self) -> Vec<i32> {
        self.fetches.keys().copied().collect()
    }

    /// Whether everything has been read of every partition that it holds.
    pub(crate) fn caught_up(&self, cluster: &Cluster) -> bool {
        self.fetches.iter().all(|(partition, fetch)| {
            let log = cluster.log(Place::Source(*partition));
            fetch
                .position
                .is_some_and(|position| log.position(position) >= log.end)
        })
    }

    /// Where it reads next, behind what it would not deliver.
    pub(crate) fn positions(&self, cluster: &Cluster) -> Vec<(i32, i64)> {
        let positions = self.fetches.iter().filter_map(|(partition, fetch)| {
            let log = cluster.log(Place::Source(*partition));
            let position = log.position(fetch.position?);
            let deposed = self.is_misled.then(|| cluster.brokers.deposed(*partition));
            let stable_end = deposed.flatten().map_or(i64::MAX, |(stable, _)| stable);
            Some((*partition, position.min(stable_end).max(fetch.position?)))
        });
        positions.collect()
    }

    /// Holds a partition from now on, and does not read it yet.
    pub(crate) fn assign(&mut self, partition: i32) {
        self.fetches.insert(partition, Fetch::default());
    }

    pub(crate) fn unassign(&mut self, partition: i32) {
        self.fetches.remove(&partition);
    }

    /// Reads no more of it than is under way already.
    pub(crate) fn pause(&mut self, partition: i32, rng: &mut ChaCha8Rng) {
        let fetch = self.fetches.entry(partition).or_default();
        fetch.under_way = Some(rng.random_range(0..4));
    }

    /// Reads on from an offset; whether it holds the partition.
    pub(crate) fn seek(&mut self, partition: i32, offset: i64) -> bool {
        let Some(fetch) = self.fetches.get_mut(&partition) else {
            return false;
        };
        *fetch = Fetch {
            position: Some(offset),
            under_way: None,
        };
        true
    }
}
