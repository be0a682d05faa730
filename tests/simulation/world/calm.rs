//! Periods without faults, in which the trackers must catch up.

use std::rc::Rc;

use rand_chacha::ChaCha8Rng;

use super::World;
use crate::oracle::lateness_bound;

/// How long a moment is while all is well.
const MOMENT: i64 = 200;
/// How long it may take until everything has been read: silent members and transactions
/// time out in 10 s, several of them one after another.
const CATCH_UP: i64 = 60_000;
/// The longest that sessions live on: what they may be ahead of time, and their timeouts.
const LAST_SESSION: i64 = 120_000;

impl World {
    /// Ends all faults, and waits until everything has been read.
    pub(super) fn calm_down(&mut self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let cluster = Rc::clone(&self.cluster);
        cluster.borrow_mut().up = true;
        cluster.borrow_mut().brokers.heal();
        self.grow_both();
        self.calm_ingest();
        self.paused.clear();
        self.send_pauses();
        self.applications.end_all(&mut cluster.borrow_mut(), rng);
        for number in 0..self.trackers.len() {
            self.stall(number, false);
            match &mut self.trackers[number] {
                Some(tracker) => tracker.simulated().ahead = 0,
                None if number == 0 => self.start(0, 0),
                None => {}
            }
        }
        let begin = cluster.borrow().now;
        // Several times in a row: a failed commit may not have been noticed yet.
        let mut well = 0;
        while well < 5 {
            self.moment()?;
            let open = cluster.borrow().has_open_since(begin);
            well = if self.caught_up() && self.ingest_caught_up() && !open {
                well + 1
            } else {
                0
            };
            if cluster.borrow().now - begin > CATCH_UP {
                return Err("does not catch up although all is well".to_owned());
            }
        }
        // Requests get lost again.
        for tracker in self.trackers.iter_mut().flatten() {
            tracker.simulated().producer.calm = false;
        }
        Ok(())
    }

    /// Nothing happens any more; whatever lives ends in its time.
    pub(super) fn wind_up(&mut self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.rules.resume();
        self.send_policies();
        self.calm_down(rng)?;
        let cluster = Rc::clone(&self.cluster);
        let since = cluster.borrow().now;
        while !self.at_rest() {
            self.moment()?;
            if cluster.borrow().now - since > LAST_SESSION {
                return Err("a session does not end".to_owned());
            }
        }
        let rest = cluster.borrow().now;
        while cluster.borrow().now < rest + lateness_bound(&self.settings) {
            self.moment()?;
        }
        self.oracle.nothing_late(since)?;
        self.oracle.nothing_lost(&cluster.borrow(), &self.rules)?;
        self.oracle
            .order_is_irrelevant(&cluster.borrow(), &self.rules)
    }

    pub(super) fn moment(&mut self) -> Result<(), String> {
        {
            let mut cluster = self.cluster.borrow_mut();
            cluster.now += MOMENT;
            cluster.tick();
            for txn in cluster.ending() {
                for _ in 0..16 {
                    cluster.mark(txn, 0);
                }
            }
        }
        self.run_ingest_well();
        for number in 0..self.trackers.len() {
            if let Some(tracker) = &mut self.trackers[number] {
                tracker.go_on_well()?;
            }
            self.look(number)?;
        }
        Ok(())
    }

    fn caught_up(&self) -> bool {
        let trackers = || self.trackers.iter().flatten();
        let held: usize = trackers().map(super::tracker::Tracker::partitions).sum();
        let partitions = self.cluster.borrow().source.len();
        let stable = self.cluster.borrow().group.is_stable();
        stable && held == partitions && trackers().all(super::tracker::Tracker::caught_up)
    }

    fn at_rest(&self) -> bool {
        let mut trackers = self.trackers.iter().flatten();
        self.caught_up()
            && self.ingest_caught_up()
            && trackers.all(|one| one.sessions() == 0 && !one.committing())
    }
}
