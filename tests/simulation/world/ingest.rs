//! Ingest processes, and what happens to them.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::World;
use crate::ingest::Ingest;
use crate::schedule::IngestFault;

impl World {
    /// Something happens to a process.
    pub(super) fn ingest_fault(&mut self, fault: IngestFault, rng: &mut ChaCha8Rng) {
        if self.ingests.is_empty() {
            return;
        }
        let number = rng.random_range(0..self.ingests.len());
        match fault {
            IngestFault::Crash => {
                if let Some(process) = self.ingests[number].take() {
                    let mut cluster = self.cluster.borrow_mut();
                    let now = cluster.now;
                    cluster.upstream.group.silent(process.id(), Some(now));
                }
            }
            IngestFault::Start => {
                if let Some(process) = self.ingests[number].take() {
                    process.stop(&mut self.cluster.borrow_mut());
                }
                self.start_ingest(number);
            }
            IngestFault::Stall => self.stall_ingest(number, true),
            IngestFault::Resume => self.stall_ingest(number, false),
            IngestFault::Rebalance => self.cluster.borrow_mut().upstream.group.turn(),
            IngestFault::Grow => {
                let mut cluster = self.cluster.borrow_mut();
                let now = cluster.now;
                cluster.upstream.grow(now);
            }
            IngestFault::RegistryGone => self.cluster.borrow_mut().upstream.registry_up = false,
            IngestFault::RegistryBack => self.cluster.borrow_mut().upstream.registry_up = true,
        }
    }

    /// Some processes do something.
    pub(super) fn run_ingest(&mut self) {
        let mut cluster = self.cluster.borrow_mut();
        for process in self.ingests.iter_mut().flatten() {
            process.go_on(&mut cluster);
        }
        drop(cluster);
        self.note_ingest();
    }

    /// All processes do what they can.
    pub(super) fn run_ingest_well(&mut self) {
        let mut cluster = self.cluster.borrow_mut();
        for process in self.ingests.iter_mut().flatten() {
            process.go_on_well(&mut cluster);
        }
        drop(cluster);
        self.note_ingest();
    }

    /// Ends what happens to the processes; at least one runs.
    pub(super) fn calm_ingest(&mut self) {
        self.cluster.borrow_mut().upstream.registry_up = true;
        for number in 0..self.ingests.len() {
            self.stall_ingest(number, false);
            if number == 0 && self.ingests[number].is_none() {
                self.start_ingest(number);
            }
        }
    }

    /// Whether everything that applications have written has been forwarded.
    pub(super) fn ingest_caught_up(&self) -> bool {
        let cluster = self.cluster.borrow();
        let processes = || self.ingests.iter().flatten();
        let held: usize = processes().map(Ingest::partitions).sum();
        self.ingests.is_empty()
            || cluster.upstream.group.is_stable()
                && held == cluster.upstream.logs.len()
                && processes().all(|process| process.caught_up(&cluster))
    }

    fn start_ingest(&mut self, number: usize) {
        self.processes += 1;
        let process = Ingest::new(&mut self.cluster.borrow_mut(), self.processes);
        self.ingests[number] = Some(process);
    }

    fn stall_ingest(&mut self, number: usize, is_stalled: bool) {
        if let Some(process) = &mut self.ingests[number] {
            process.is_stalled = is_stalled;
            let mut cluster = self.cluster.borrow_mut();
            let now = cluster.now;
            let since = is_stalled.then_some(now);
            cluster.upstream.group.silent(process.id(), since);
        }
    }

    fn note_ingest(&mut self) {
        if self.trace.is_some() {
            let processes = self.ingests.iter().enumerate();
            let running = processes.filter_map(|(number, one)| Some((number, one.as_ref()?)));
            let lines: Vec<_> = running
                .map(|(number, one)| format!("  ingest {number}: {}", one.describe()))
                .collect();
            lines.into_iter().for_each(|line| self.note(|| line));
        }
    }
}
