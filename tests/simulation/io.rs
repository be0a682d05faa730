//! The environment of a simulated tracker.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sundown::clock::{BrokerSample, Reading};
use sundown::kafka::proven_ends::EndOffsets;
use sundown::kafka::transaction::delivery::Delivery;
use sundown::session::{PolicySet, Timestamp};
use sundown::tracker::assignment::{CommitResult, Io, ManagerEvent, RestoreOutcome, RestoreResult};
use sundown::tracker::engine::{Batch, RestoreId};
use sundown::tracker::restore::{Degraded, RestoreSettings, restore};
use sundown::wire::routing::Routing;

use crate::cluster::Cluster;
use crate::consumer::{Consumer, Polled};
use crate::end_offsets::EndOffsetLister;
use crate::group::GroupMetadata;
use crate::producer::Producer;
use crate::restore_log::{Halt, Responses, SimulatedLog};

/// How often end offsets are asked for, in milliseconds.
const ASK_EVERY: u64 = 100;
/// A listing that takes longer is given up.
const LISTING_TIMEOUT: u64 = 5_000;
/// How often a process report is written.
const REPORT_EVERY: u64 = 3_000;
/// A report that takes longer is given up.
const REPORT_TIMEOUT: u64 = 2_000;

/// One process's view of the world.
#[derive(Debug)]
pub(crate) struct Simulated {
    pub(crate) cluster: Rc<RefCell<Cluster>>,
    pub(crate) rng: ChaCha8Rng,
    /// How far this machine's clock is ahead of the brokers'.
    pub(crate) ahead: i64,
    /// Whether the brokers put their time on process reports.
    pub(crate) brokers_stamp_reports: bool,
    started: i64,
    pub(crate) id: u64,
    pub(crate) consumer: Consumer,
    lister: EndOffsetLister,
    pub(crate) policies: VecDeque<Arc<PolicySet>>,
    /// What is paused, each time that it has changed.
    pub(crate) pauses: VecDeque<BTreeSet<i32>>,
    samples: VecDeque<BrokerSample>,
    report: Option<BrokerSample>,
    reported: Option<u64>,
    asked: u64,
    answer: Option<EndOffsets>,
    restores: Vec<Restoring>,
    restored: VecDeque<(RestoreResult, i64)>,
    /// The partition of the one taken last, and when it was asked for.
    taken: (i32, i64),
    pub(crate) producer: Producer,
    /// The held partitions, and why.
    pub(crate) held: BTreeMap<i32, &'static str>,
    /// Restores that took sessions as active: partition, why, and when.
    pub(crate) degraded: Vec<(i32, Degraded, i64)>,
}

#[derive(Debug)]
struct Restoring {
    restore_id: RestoreId,
    settings: RestoreSettings,
    responses: Responses,
}

impl Simulated {
    pub(crate) fn new(
        cluster: &Rc<RefCell<Cluster>>,
        routing: Routing,
        (ahead, seed): (i64, u64),
        delivery: Delivery,
    ) -> Self {
        let producer = Producer::new(seed, delivery);
        let id = cluster.borrow_mut().group.join();
        Self {
            started: cluster.borrow().now,
            cluster: Rc::clone(cluster),
            rng: ChaCha8Rng::seed_from_u64(seed),
            ahead,
            brokers_stamp_reports: true,
            id,
            consumer: Consumer::default(),
            lister: EndOffsetLister::new(routing, producer.process().to_vec()),
            policies: VecDeque::new(),
            pauses: VecDeque::new(),
            samples: VecDeque::new(),
            report: None,
            reported: None,
            asked: 0,
            answer: None,
            restores: Vec::new(),
            restored: VecDeque::new(),
            taken: (0, 0),
            producer,
            held: BTreeMap::new(),
            degraded: Vec::new(),
        }
    }

    /// What the consumer brings next.
    pub(crate) fn poll(&mut self) -> Option<Polled> {
        self.consumer.poll(&self.cluster.borrow(), &mut self.rng)
    }

    /// The partitions that the consumer holds.
    pub(crate) fn held(&self) -> Vec<i32> {
        self.consumer.held()
    }

    /// Whether everything has been read of every partition that it holds.
    pub(crate) fn caught_up(&self) -> bool {
        self.consumer.caught_up(&self.cluster.borrow())
    }

    /// Process reports: written, stamped by the brokers, acknowledged.
    pub(crate) fn step_report(&mut self) {
        let (now, elapsed) = (self.cluster.borrow().now, self.elapsed());
        let up = self.cluster.borrow().up;
        let sent = Duration::from_millis(elapsed);
        match self.report {
            None if self.reported.is_none_or(|at| elapsed - at >= REPORT_EVERY) => {
                self.reported = Some(elapsed);
                self.report = Some(BrokerSample {
                    append_time: None,
                    sent,
                    acknowledged: Duration::ZERO,
                });
            }
            Some(report) if elapsed - millis(report.sent) > REPORT_TIMEOUT => self.report = None,
            Some(report) if report.append_time.is_none() && up => {
                let append_time = Some(Timestamp::from_millis(now));
                self.report = Some(BrokerSample {
                    append_time,
                    ..report
                });
            }
            Some(report) if up => {
                self.report = None;
                let stamped = self.brokers_stamp_reports;
                self.samples.push_back(BrokerSample {
                    acknowledged: sent,
                    append_time: report.append_time.filter(|_| stamped),
                    ..report
                });
            }
            Some(_) | None => {}
        }
    }

    /// End offsets: one request after another.
    pub(crate) fn step_ends(&mut self) {
        let elapsed = self.elapsed();
        let reading = self.reading();
        let is_due = elapsed - self.asked >= ASK_EVERY;
        if self.lister.is_idle() && is_due && !self.consumer.held().is_empty() {
            self.asked = elapsed;
            self.lister.start(self.consumer.held());
        }
        if elapsed - self.asked > LISTING_TIMEOUT {
            self.lister.give_up();
        }
        let cluster = self.cluster.borrow();
        if let Some(ends) = self.lister.step(&cluster, &mut self.rng, reading) {
            self.answer.get_or_insert(ends);
        }
    }

    /// Lets one restore get a little farther.
    pub(crate) fn step_restore(&mut self) {
        if self.restores.is_empty() {
            return;
        }
        let which = self.rng.random_range(0..self.restores.len());
        let reading = self.reading();
        let job = &mut self.restores[which];
        let partition = job.settings.partition;
        let place = (partition, reading);
        let mut log = SimulatedLog::new(&self.cluster, place, &mut job.responses, &mut self.rng);
        let outcome = match restore(&mut log, &job.settings) {
            Err(Halt::NotYet) => return,
            Err(Halt::Failed(why)) => RestoreOutcome::Failed(anyhow::anyhow!(why)),
            Err(Halt::Held(hold)) => RestoreOutcome::Held(hold),
            Ok(restored) => RestoreOutcome::Restored(Box::new(restored)),
        };
        let job = self.restores.remove(which);
        let result = RestoreResult {
            restore_id: job.restore_id,
            partition,
            outcome,
        };
        // The clock may have been set since.
        let asked_at = job.responses.asked_at().unwrap_or(reading);
        let asked_at = job.settings.clocks.upper(asked_at).as_millis();
        self.restored.push_back((result, asked_at));
    }

    /// Lets the commit get a little farther.
    pub(crate) fn step_commit(&mut self) -> bool {
        let mut cluster = self.cluster.borrow_mut();
        self.producer.step(&mut cluster, &mut self.rng)
    }

    /// Joins the group again, as a new member.
    pub(crate) fn rejoin(&mut self) {
        self.id = self.cluster.borrow_mut().group.join();
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.cluster.borrow().now - self.started).unwrap_or_default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Io for Simulated {
    type GroupMetadata = GroupMetadata;

    fn reading(&self) -> Reading {
        Reading {
            wall: Timestamp::from_millis(self.cluster.borrow().now + self.ahead),
            elapsed: Duration::from_millis(self.elapsed()),
        }
    }

    fn take_policies(&mut self) -> Option<Arc<PolicySet>> {
        self.policies.pop_front()
    }

    fn take_pauses(&mut self) -> Option<BTreeSet<i32>> {
        self.pauses.pop_front()
    }

    fn take_broker_sample(&mut self) -> Option<BrokerSample> {
        self.samples.pop_front()
    }

    fn take_end_offsets(&mut self) -> Option<EndOffsets> {
        self.answer.take()
    }

    fn assign_paused(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        for &partition in partitions {
            self.consumer.assign(partition);
        }
        Ok(())
    }

    fn unassign(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        for partition in partitions {
            self.consumer.unassign(*partition);
        }
        let group = &mut self.cluster.borrow_mut().group;
        group.give_back(self.id, partitions);
        Ok(())
    }

    fn pause(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.consumer.pause(*partition, &mut self.rng);
        }
    }

    fn seek(&mut self, partition: i32, offset: i64) -> anyhow::Result<()> {
        anyhow::ensure!(self.consumer.seek(partition, offset), "not assigned");
        Ok(())
    }

    fn positions(&self) -> Vec<(i32, i64)> {
        self.consumer.positions(&self.cluster.borrow())
    }

    fn start_restore(&mut self, restore_id: RestoreId, settings: RestoreSettings) {
        self.restores.push(Restoring {
            restore_id,
            settings,
            responses: Responses::default(),
        });
    }

    fn take_restore_result(&mut self) -> Option<RestoreResult> {
        let (result, asked_at) = self.restored.pop_front()?;
        self.taken = (result.partition, asked_at);
        Some(result)
    }

    fn group_metadata(&self) -> Option<GroupMetadata> {
        self.cluster.borrow().group.metadata(self.id)
    }

    fn is_committing(&self) -> bool {
        self.producer.busy()
    }

    fn start_commit(&mut self, batch: Batch, group: GroupMetadata) {
        let now = self.cluster.borrow().now;
        self.producer.submit(batch, group, now);
    }

    /// While one tracker waits, time passes for the cluster.
    fn take_commit_result(&mut self, timeout: Duration) -> Option<CommitResult> {
        let mut waited = 0_u32;
        while u128::from(waited) < timeout.as_millis() {
            if let Some(done) = self.producer.result() {
                return Some(done);
            }
            if !self.producer.busy() {
                return None;
            }
            self.step_commit();
            let step = self.rng.random_range(1..40);
            let which = self.rng.random_range(0..16);
            let mut cluster = self.cluster.borrow_mut();
            cluster.now += i64::from(step);
            waited += step;
            cluster.tick();
            for txn in cluster.ending() {
                cluster.mark(txn, which);
            }
        }
        self.producer.result()
    }

    fn handle(&mut self, event: ManagerEvent<'_>) {
        if let ManagerEvent::Held(held) = event {
            let held = held.iter().map(|(number, hold)| (*number, hold.reason()));
            self.held = held.collect();
        }
        if let ManagerEvent::Restored(restored) = event
            && let Some(degraded) = restored.degraded
        {
            let (partition, asked_at) = self.taken;
            self.degraded.push((partition, degraded, asked_at));
        }
    }
}
