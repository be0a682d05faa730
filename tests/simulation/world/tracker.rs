//! One tracker process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::kafka::group::Rebalance;
use sundown::kafka::transaction::delivery::Delivery;
use sundown::session::{PolicySet, TableConfig};
use sundown::tracker::assignment::PartitionManager;
use sundown::tracker::engine::Engine;
use sundown::tracker::partition::Partition;
use sundown::tracker::restore::Degraded;

use crate::cluster::Cluster;
use crate::consumer::Polled;
use crate::io::Simulated;
use crate::log::Record;

/// A process.
pub(super) struct Tracker {
    partition_manager: PartitionManager<Simulated>,
    /// Whether it has been stopped without noticing.
    pub(super) stalled: bool,
    /// How likely it does each thing that it could, in ten.
    pace: u32,
}

impl Tracker {
    pub(super) fn new(
        cluster: &Rc<RefCell<Cluster>>,
        engine: Engine,
        table: TableConfig,
        process: (i64, u64),
        delivery: Delivery,
    ) -> Self {
        let io = Simulated::new(cluster, engine.routing(), process, delivery);
        Self {
            partition_manager: PartitionManager::new(engine, io, table),
            stalled: false,
            pace: 5,
        }
    }

    pub(super) fn policies(&mut self, policies: &Arc<PolicySet>) {
        let inbox = &mut self.simulated().policies;
        inbox.push_back(Arc::clone(policies));
    }

    pub(super) fn pauses(&mut self, paused: &BTreeSet<i32>) {
        self.simulated().pauses.push_back(paused.clone());
    }

    /// Does some of what it could do now.
    pub(super) fn go_on(&mut self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        if self.stalled {
            return Ok(());
        }
        let pace = self.pace;
        let mut likely = |times: u32| (0..times).filter(|_| rng.random_ratio(pace, 10)).count();
        let (reports, ends, restores, commits) = (likely(1), likely(6), likely(3), likely(4));
        for _ in 0..reports {
            self.simulated().step_report();
        }
        for _ in 0..ends {
            self.simulated().step_ends();
        }
        for _ in 0..restores {
            self.simulated().step_restore();
        }
        for _ in 0..commits {
            self.simulated().step_commit();
        }
        if rng.random_ratio(pace, 10) {
            let burst = rng.random_range(0..12);
            self.round(burst)?;
        }
        Ok(())
    }

    /// Does all of what it can do now.
    pub(super) fn go_on_well(&mut self) -> Result<(), String> {
        self.simulated().producer.calm = true;
        self.simulated().step_report();
        self.simulated().step_report();
        for _ in 0..12 {
            self.simulated().step_ends();
        }
        for _ in 0..20 {
            self.simulated().step_restore();
        }
        for _ in 0..200 {
            if !self.simulated().step_commit() {
                break;
            }
        }
        self.round(200)
    }

    /// The process ends in good order, or as good as it gets.
    pub(super) fn stop(mut self) {
        if !self.stalled {
            self.partition_manager.commit_now(Duration::from_secs(3));
        }
        let id = self.simulated().id;
        let cluster = Rc::clone(&self.simulated().cluster);
        cluster.borrow_mut().group.remove(id);
    }

    pub(super) fn simulated(&mut self) -> &mut Simulated {
        self.partition_manager.io_mut()
    }

    pub(super) fn take_degraded(&mut self) -> Vec<(i32, Degraded, i64)> {
        std::mem::take(&mut self.simulated().degraded)
    }

    /// Whether all it has is read to the end and restored, and nothing waits to be forwarded.
    pub(super) fn caught_up(&self) -> bool {
        let restored = |(_, partition): (i32, Option<&Partition>)| {
            partition.is_some_and(|live| !live.has_forwards())
        };
        self.partition_manager.engine().assigned().all(restored)
            && self.partition_manager.io().caught_up()
    }

    /// Partitions that it is reading.
    pub(super) fn partitions(&self) -> usize {
        self.partition_manager.engine().assigned().count()
    }

    /// Sessions that live in its memory.
    pub(super) fn sessions(&self) -> usize {
        let live = self.partition_manager.engine().assigned();
        live.filter_map(|(_, partition)| Some(partition?.sessions()))
            .sum()
    }

    pub(super) fn committing(&self) -> bool {
        self.partition_manager.io().producer.writes_outputs()
    }

    pub(super) fn describe(&self) -> String {
        let assigned = self.partition_manager.engine().assigned();
        let partitions: Vec<String> = assigned
            .map(|(number, partition)| match partition {
                None => format!("{number} restoring"),
                Some(live) => format!(
                    "{number} at {} watermark {} sessions {}",
                    live.position(),
                    live.watermark().as_millis().max(0) % 100_000_000,
                    live.sessions()
                ),
            })
            .collect();
        let held = &self.partition_manager.io().held;
        format!(
            "{partitions:?} committing {} held {held:?}",
            self.committing()
        )
    }

    fn round(&mut self, burst: usize) -> Result<(), String> {
        self.notice_loss()?;
        let now_upper = self.partition_manager.now_upper();
        let mut runs: Vec<(i32, Vec<Record>)> = Vec::new();
        for _ in 0..burst {
            match self.simulated().poll() {
                Some(Polled::Record(partition, record)) => match runs.last_mut() {
                    Some((same, run)) if *same == partition => run.push(record),
                    _ => runs.push((partition, vec![record])),
                },
                Some(Polled::OutOfRange) => self.partition_manager.log_truncated(),
                None => break,
            }
        }
        for (partition, run) in runs {
            let engine = self.partition_manager.engine_mut();
            engine.apply(partition, &run, now_upper);
        }
        loop {
            let simulated = self.simulated();
            let id = simulated.id;
            let change = simulated.cluster.borrow_mut().group.next_change(id);
            let Some(change) = change else { break };
            self.rebalance(&change)?;
        }
        self.partition_manager
            .round()
            .map_err(|error| format!("{error:#}"))
    }

    /// The group has thrown it out: it hears of that when it looks.
    fn notice_loss(&mut self) -> Result<(), String> {
        let simulated = self.simulated();
        let cluster = Rc::clone(&simulated.cluster);
        if !cluster.borrow().up || cluster.borrow().group.metadata(simulated.id).is_some() {
            return Ok(());
        }
        let held = simulated.held();
        if !held.is_empty() {
            self.rebalance(&Rebalance::Lost(held))?;
        }
        self.simulated().rejoin();
        Ok(())
    }

    fn rebalance(&mut self, change: &Rebalance) -> Result<(), String> {
        let outcome = self.partition_manager.rebalance(change);
        outcome.map_err(|error| format!("{error:#}"))
    }
}
