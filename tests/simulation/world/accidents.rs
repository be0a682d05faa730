//! Accidents after which log, checkpoint and committed offsets do not belong together: trackers hold the
//! partitions until an operator decides.

use std::collections::BTreeMap;
use std::rc::Rc;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::World;
use crate::state::Accident;

/// How long it may take until trackers hold what does not belong together.
const HOLD_WITHIN: i64 = 40_000;
/// How long partitions are held: longer than sessions are idle.
const HELD_FOR: i64 = 15_000;

impl World {
    /// An accident, with or without trackers that run meanwhile, and its end.
    pub(super) fn accident(&mut self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.calm_down(rng)?;
        let accident = *Accident::ALL.choose(rng).expect("some");
        // Kafka refuses to change or delete offsets of a group with members.
        let outage = accident != Accident::SourceRecreated || rng.random_ratio(1, 2);
        if outage {
            for number in 0..self.trackers.len() {
                self.end_tracker(number);
            }
            self.await_transactions()?;
        }
        self.write(|applications, cluster| applications.events(cluster, rng, false));
        let cluster = Rc::clone(&self.cluster);
        let partition = rng.random_range(0..self.settings.partitions);
        let concerned = accident.partitions(&cluster.borrow(), partition);
        self.note(|| format!("  {accident:?} of {concerned:?}, outage: {outage}"));
        cluster
            .borrow_mut()
            .suffer(accident, partition, rng.random());
        self.oracle.disturb(&cluster.borrow(), &concerned);
        for _ in 0..rng.random_range(0..4) {
            self.write(|applications, cluster| applications.events(cluster, rng, false));
        }
        if outage {
            self.start(0, 0);
        }
        self.await_holds()?;
        self.oracle.hold(cluster.borrow().mismatches().into_keys());
        let until = cluster.borrow().now + HELD_FOR;
        while cluster.borrow().now < until {
            if rng.random_ratio(1, 20) {
                self.write(|applications, cluster| applications.events(cluster, rng, false));
            }
            self.moment()?;
        }
        self.decide(accident, rng)
    }

    /// The operator resets the held partitions.
    fn decide(&mut self, accident: Accident, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let cluster = Rc::clone(&self.cluster);
        let held = cluster.borrow().mismatches();
        for &partition in held.keys() {
            let to_beginning = accident == Accident::CheckpointSoiled || rng.random_ratio(1, 2);
            self.note(|| format!("  reset of {partition}, to the beginning: {to_beginning}"));
            cluster.borrow_mut().reset(partition, to_beginning);
            self.oracle.reset(&cluster.borrow(), partition);
        }
        self.await_holds()?;
        self.calm_down(rng)
    }

    /// Waits until trackers hold exactly what does not belong together.
    fn await_holds(&mut self) -> Result<(), String> {
        let since = self.cluster.borrow().now;
        loop {
            self.moment()?;
            let trackers = self.trackers.iter_mut().flatten();
            let held: BTreeMap<i32, &str> = trackers
                .flat_map(|tracker| tracker.simulated().held.clone())
                .collect();
            let cluster = self.cluster.borrow();
            let expected = cluster.mismatches();
            if held == expected {
                return Ok(());
            }
            if cluster.now - since > HOLD_WITHIN {
                return Err(format!(
                    "holds other than expected: {held:?}, not {expected:?}"
                ));
            }
        }
    }

    /// A process ends in good order, and is not replaced.
    fn end_tracker(&mut self, number: usize) {
        if let Some(tracker) = self.trackers[number].take() {
            tracker.stop();
        }
    }

    /// Waits until no transaction is open.
    fn await_transactions(&mut self) -> Result<(), String> {
        loop {
            self.moment()?;
            let cluster = self.cluster.borrow();
            if !cluster.has_open_since(cluster.now) {
                return Ok(());
            }
        }
    }
}
