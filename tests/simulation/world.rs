//! The simulation: trackers, Kafka and applications, in simulated time.

mod accidents;
mod calm;
mod faults;
mod ingest;
mod tracker;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sundown::session::{Span, TableConfig};
use sundown::tracker::engine::{Engine, TransactionLimits};
use sundown::tracker::layout::layout;
use sundown::tracker::routing::RoutingMode;
use sundown::wire::record::TimestampKind;
use sundown::wire::routing::{Routing, RoutingKey};

use crate::applications::Applications;
use crate::cluster::Cluster;
use crate::ingest::Ingest;
use crate::log::Txn;
use crate::oracle::Oracle;
use crate::rules::Rules;
use crate::schedule::{Plan, Settings, Step, What};
use tracker::Tracker;

/// When simulations begin: 2025-11-24, in epoch milliseconds.
const BEGINNING: i64 = 1_764_000_000_000;
/// How far the clocks of trackers and brokers may be apart.
const MAX_CLOCK_SKEW: i64 = 5_000;

/// Of how many transactions one has markers that are long on their way.
const SLOW_MARKERS: Txn = 3;

/// How far the clocks of brokers may be off.
const BROKER_SKEW: i64 = 4_000;

/// Everything there is.
pub(crate) struct World {
    settings: Settings,
    cluster: Rc<RefCell<Cluster>>,
    trackers: Vec<Option<Tracker>>,
    ingests: Vec<Option<Ingest>>,
    applications: Applications,
    rules: Rules,
    /// The paused partitions.
    paused: BTreeSet<i32>,
    oracle: Oracle,
    table: TableConfig,
    /// Receives every event, if set.
    trace: Option<Vec<String>>,
    /// Trackers that there have been.
    processes: u64,
}

/// What a simulation came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// Runs a plan to its end, or to the first thing that should not be.
pub(crate) fn run(plan: &Plan, traced: bool) -> Report {
    let mut world = World::new(plan, traced);
    let verdict = world.live(plan);
    Report {
        violation: verdict.err(),
        trace: world.trace.unwrap_or_default(),
    }
}

impl World {
    fn new(plan: &Plan, traced: bool) -> Self {
        let settings = plan.settings;
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let kind = if settings.append_time {
            TimestampKind::LogAppendTime
        } else {
            TimestampKind::CreateTime
        };
        let partitions = usize::try_from(settings.partitions).expect("a few");
        let table = TableConfig {
            allowed_lateness: Span::from_millis(settings.allowed_lateness),
            end_grace: Span::from_millis(settings.end_grace),
            max_future_skew: Span::from_millis(settings.max_future_skew),
            slack: Span::from_millis(settings.slack),
            max_sessions: settings.max_sessions,
            hash_key: (rng.random(), rng.random()),
            ..TableConfig::default()
        };
        let mut cluster = Cluster::new(BEGINNING, partitions, kind);
        if settings.clocks_differ {
            let skews = cluster.skews.iter_mut();
            skews.for_each(|skew| *skew = rng.random_range(-BROKER_SKEW..BROKER_SKEW));
        }
        let mut world = Self {
            settings,
            cluster: Rc::new(RefCell::new(cluster)),
            trackers: (0..settings.trackers).map(|_| None).collect(),
            ingests: (0..settings.ingest).map(|_| None).collect(),
            applications: Applications::new(settings),
            rules: if settings.orderly {
                Rules::of_tenants(&mut rng, settings.user_sessions)
            } else {
                Rules::new(&mut rng)
            },
            paused: BTreeSet::new(),
            oracle: Oracle::new(settings),
            table,
            trace: traced.then(Vec::new),
            processes: 0,
        };
        world.start(0, 0);
        world
    }

    fn live(&mut self, plan: &Plan) -> Result<(), String> {
        if plan.settings.ingest > 0 {
            // Until ingest has stated something about a topic, nothing waits for it.
            self.calm_down(&mut ChaCha8Rng::seed_from_u64(plan.seed))?;
        }
        for (number, step) in plan.steps.iter().enumerate() {
            self.note(|| format!("step {number}: {step:?}"));
            let mut rng = ChaCha8Rng::seed_from_u64(step.salt);
            self.take(step, &mut rng)?;
            self.run_for(step.then, &mut rng)?;
        }
        self.note(|| "the end".to_owned());
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        self.wind_up(&mut rng)
    }

    fn take(&mut self, step: &Step, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let cluster = Rc::clone(&self.cluster);
        match step.what {
            What::Wait => {}
            What::Events => {
                self.write(|applications, cluster| applications.events(cluster, rng, false));
            }
            What::Chat => {
                for _ in 0..rng.random_range(2..12) {
                    let mut again = ChaCha8Rng::seed_from_u64(step.salt);
                    self.write(|applications, cluster| applications.chat(cluster, &mut again));
                    self.run_for(rng.random_range(0..2_500), rng)?;
                }
            }
            What::LogOutEverywhere => {
                self.write(|applications, cluster| applications.log_out_everywhere(cluster, rng));
            }
            What::Garbage => {
                self.write(|applications, cluster| applications.garbage(cluster, rng));
            }
            What::OpenTransaction => {
                self.write(|applications, cluster| applications.events(cluster, rng, true));
            }
            What::EndTransaction => {
                self.applications.end_one(&mut cluster.borrow_mut(), rng);
            }
            What::Policies => {
                self.rules.edit(rng, true);
                self.send_policies();
            }
            What::Pause => {
                let partition = rng.random_range(0..self.settings.partitions);
                if !self.paused.remove(&partition) {
                    self.paused.insert(partition);
                }
                self.send_pauses();
            }
            What::Calm => self.calm_down(rng)?,
            What::Accident => self.accident(rng)?,
            What::Ingest(fault) => self.ingest_fault(fault, rng),
            fault => self.fault(fault, step.salt, rng),
        }
        Ok(())
    }

    fn write(
        &mut self,
        what: impl FnOnce(&mut Applications, &mut Cluster) -> Vec<crate::facts::Fact>,
    ) {
        // Without brokers, applications write nothing.
        let cluster = Rc::clone(&self.cluster);
        let mut cluster = cluster.borrow_mut();
        if cluster.up {
            let facts = what(&mut self.applications, &mut cluster);
            for fact in &facts {
                self.note(|| format!("  {fact:?}"));
            }
            self.oracle.learn(facts);
        }
    }

    fn send_policies(&mut self) {
        for tracker in self.trackers.iter_mut().flatten() {
            tracker.policies(&self.rules.active);
        }
    }

    fn send_pauses(&mut self) {
        for tracker in self.trackers.iter_mut().flatten() {
            tracker.pauses(&self.paused);
        }
    }

    /// Runs all parts for a while, each at its own pace.
    fn run_for(&mut self, millis: i64, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let end = self.cluster.borrow().now + millis;
        let pace = rng.random_range(30..400);
        while self.cluster.borrow().now < end {
            let step = rng.random_range(1..=pace);
            self.cluster.borrow_mut().now += step;
            self.tick(rng)?;
        }
        Ok(())
    }

    /// A moment: some of those who could do something do it.
    fn tick(&mut self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        {
            let mut cluster = self.cluster.borrow_mut();
            cluster.tick();
            for txn in cluster.ending() {
                let is_slow = txn.is_multiple_of(SLOW_MARKERS);
                let pace = if is_slow { 10 } else { 66 };
                if rng.random_ratio(pace, 100) && cluster.up {
                    cluster.mark(txn, rng.random_range(0..16));
                }
            }
        }
        self.run_ingest();
        let first = rng.random_range(0..self.trackers.len());
        for number in 0..self.trackers.len() {
            let number = (first + number) % self.trackers.len();
            if let Some(tracker) = &mut self.trackers[number] {
                tracker.go_on(rng)?;
            }
            self.look(number)?;
        }
        Ok(())
    }

    /// Has the oracle look at what has come about.
    fn look(&mut self, number: usize) -> Result<(), String> {
        if let Some(tracker) = &mut self.trackers[number] {
            for (partition, why, now) in tracker.take_degraded() {
                self.oracle.degraded(partition, &why.to_string(), now)?;
            }
            if self.trace.is_some() {
                let state = tracker.describe();
                self.note(|| format!("  tracker {number}: {state}"));
            }
        }
        let mut cluster = self.cluster.borrow_mut();
        self.oracle.observe(&mut cluster, &self.rules)
    }

    fn start(&mut self, number: usize, ahead: i64) {
        let (topic, checkpoint) = {
            let cluster = self.cluster.borrow();
            (cluster.source.len(), cluster.checkpoint.len())
        };
        if topic != checkpoint {
            // It waits for the topics.
            return;
        }
        let topic = Routing {
            partitions: i32::try_from(topic).expect("a few"),
            key: match self.settings.user_sessions {
                Some(_) => RoutingKey::UserId,
                None => RoutingKey::SessionId,
            },
        };
        let stated = self.cluster.borrow_mut().stated_routings(topic);
        let routing = match layout(stated, topic) {
            Ok(routing) => routing,
            Err(error) => {
                self.cluster.borrow_mut().violation = Some(format!("cannot start: {error}"));
                return;
            }
        };
        self.processes += 1;
        let interval = Duration::from_millis(self.settings.commit_interval);
        let max_skew = Span::from_millis(MAX_CLOCK_SKEW);
        let mode = if self.settings.keyed {
            RoutingMode::Keyed
        } else {
            RoutingMode::Any
        };
        let engine = Engine::new(interval, max_skew, mode, routing);
        let engine = engine.with_limits(TransactionLimits {
            outputs: self.settings.transaction,
            stores: self.settings.transaction,
        });
        let mut tracker = Tracker::new(
            &self.cluster,
            engine,
            self.table.clone(),
            (ahead, self.processes),
            self.settings.delivery,
        );
        tracker.policies(&self.rules.active);
        tracker.pauses(&self.paused);
        tracker.simulated().brokers_stamp_reports = self.settings.clocks_checked;
        self.trackers[number] = Some(tracker);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let now = self
                .cluster
                .try_borrow()
                .map_or(0, |cluster| cluster.now - BEGINNING);
            trace.push(format!("{now:>8} {}", what()));
        }
    }
}
