//! Injects faults into trackers, brokers and applications.

use std::rc::Rc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::kafka::transaction::delivery::Delivery;

use super::World;
use crate::cluster::{Place, index};
use crate::schedule::What;

/// How many partitions the topics may come to have.
const MAX_PARTITIONS: usize = 5;

impl World {
    pub(super) fn fault(&mut self, what: What, salt: u64, rng: &mut ChaCha8Rng) {
        let number = rng.random_range(0..self.trackers.len());
        let cluster = Rc::clone(&self.cluster);
        let partitions = cluster.borrow().source.len();
        let partition = i32::try_from(rng.random_range(0..partitions)).expect("a few");
        match what {
            What::Crash => self.crash(number),
            What::Start if self.trackers[number].is_none() => {
                let ahead = self.skew(rng);
                self.start(number, ahead);
            }
            // It is there already: it is replaced, as in a rolling update.
            What::Start => self.stop(number, salt),
            What::Stall => self.stall(number, true),
            What::Resume => self.stall(number, false),
            What::ThrowOut => {
                if let Some(tracker) = &mut self.trackers[number] {
                    let id = tracker.simulated().id;
                    let mut cluster = cluster.borrow_mut();
                    if salt.is_multiple_of(2) {
                        cluster.group.remove(id);
                    } else {
                        cluster.group.fence(id);
                        let delay = rng.random_range(0..3_000);
                        tracker.simulated().producer.delayed_until = cluster.now + delay;
                    }
                }
            }
            What::Rebalance => cluster.borrow_mut().group.turn(),
            What::BrokersGone => cluster.borrow_mut().up = false,
            What::BrokersBack => cluster.borrow_mut().up = true,
            What::SetClock => {
                let ahead = self.skew(rng);
                if let Some(tracker) = &mut self.trackers[number] {
                    tracker.simulated().ahead = ahead;
                }
            }
            What::Compact => {
                let mut cluster = cluster.borrow_mut();
                let partitions = i32::try_from(cluster.checkpoint.len()).expect("a few");
                let log = cluster.log_mut(Place::Checkpoint(partition % partitions));
                log.compact(rng.random_range(0..=log.end));
            }
            What::Delete => self.delete(partition, rng),
            What::GrowSource | What::GrowCheckpoint if self.settings.user_sessions.is_some() => {}
            What::GrowSource => {
                let count = (partitions + rng.random_range(1..3)).min(MAX_PARTITIONS);
                let now = cluster.borrow().now;
                self.oracle.grown(now);
                cluster.borrow_mut().grow_source(count);
            }
            What::GrowCheckpoint => {
                let mut cluster = cluster.borrow_mut();
                let count = cluster.checkpoint.len() + rng.random_range(1..3);
                cluster.grow_checkpoint(count.min(MAX_PARTITIONS));
            }
            What::Isolate => {
                cluster.borrow_mut().isolate_leader(partition);
                for tracker in self.trackers.iter_mut().flatten() {
                    tracker.simulated().consumer.is_misled = rng.random_ratio(1, 2);
                }
            }
            What::Heal => cluster.borrow_mut().brokers.heal(),
            _ => {}
        }
    }

    /// Completes the growth of the topics.
    pub(super) fn grow_both(&mut self) {
        let mut cluster = self.cluster.borrow_mut();
        let count = cluster.source.len().max(cluster.checkpoint.len());
        if count > cluster.source.len() {
            self.oracle.grown(cluster.now);
        }
        cluster.grow_source(count);
        cluster.grow_checkpoint(count);
    }

    /// A process is gone from one moment to the next.
    fn crash(&mut self, number: usize) {
        if let Some(mut tracker) = self.trackers[number].take() {
            let id = tracker.simulated().id;
            let mut cluster = self.cluster.borrow_mut();
            let now = cluster.now;
            cluster.group.silent(id, Some(now));
        }
    }

    pub(super) fn stop(&mut self, number: usize, salt: u64) {
        if let Some(tracker) = self.trackers[number].take() {
            if self.cluster.borrow().up {
                tracker.stop();
                self.start(number, 0);
            } else {
                self.trackers[number] = Some(tracker);
                self.crash(number);
            }
        }
        self.note(|| format!("  stopped {number}, {salt}"));
    }

    pub(super) fn stall(&mut self, number: usize, stalled: bool) {
        if let Some(tracker) = &mut self.trackers[number] {
            tracker.stalled = stalled;
            let id = tracker.simulated().id;
            let mut cluster = self.cluster.borrow_mut();
            let now = cluster.now;
            cluster.group.silent(id, stalled.then_some(now));
        }
    }

    fn delete(&mut self, partition: i32, rng: &mut ChaCha8Rng) {
        let mut cluster = self.cluster.borrow_mut();
        // Outside transactions, checkpoint records may precede the first committed offset. If what they cover
        // is deleted before it, the state is held, rightly, and no partition catches up.
        let is_first = cluster.offsets[index(partition)].is_none();
        if self.settings.delivery == Delivery::AtLeastOnce && is_first {
            return;
        }
        let log = cluster.log(Place::Source(partition));
        // Nothing is deleted that a transaction has still to decide on.
        let to = rng.random_range(log.start..=log.stable_end());
        self.oracle.deleting(&cluster, partition, to);
        cluster.log_mut(Place::Source(partition)).delete_before(to);
    }

    /// How far a clock may be wrong: mostly a little, sometimes by more than trackers
    /// stand.
    fn skew(&self, rng: &mut ChaCha8Rng) -> i64 {
        match rng.random_range(0..10) {
            _ if !self.settings.clocks_checked => 0,
            0..5 => 0,
            5..8 => rng.random_range(-4_000..4_000),
            8 => rng.random_range(-3_600_000..0),
            _ => rng.random_range(0..20_000),
        }
    }
}
