//! Several trackers of one installation, and the partitions of each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::usage::{cpu_seconds, memory_mib};
use super::{start_tracker, stop};
use crate::support::installation::Installation;
use crate::support::process::Process;

/// Without an end of a rebalance for so long, something has stopped.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(120);

/// Trackers.
pub struct TrackerGroup<'a> {
    installation: &'a Installation<'a>,
    partitions: usize,
    members: Vec<Member>,
}

struct Member {
    process: Process,
    /// Lines of its log that have been read.
    lines_read: usize,
    assigned: BTreeSet<i32>,
    /// Those that it has restored.
    live: BTreeSet<i32>,
}

/// A line of a tracker's log, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    message: Option<String>,
    partition: Option<i32>,
    partitions: Option<String>,
}

impl<'a> TrackerGroup<'a> {
    pub fn new(installation: &'a Installation<'a>, partitions: u64) -> Self {
        Self {
            installation,
            partitions: usize::try_from(partitions).unwrap(),
            members: Vec::new(),
        }
    }

    /// One more tracker.
    pub fn join(&mut self) {
        self.members.push(Member {
            process: start_tracker(self.installation, &[]),
            lines_read: 0,
            assigned: BTreeSet::new(),
            live: BTreeSet::new(),
        });
    }

    /// Stops one tracker.
    pub fn leave(&mut self) {
        stop(self.members.pop().unwrap().process);
    }

    /// Waits until all partitions are live, and each tracker has its share of them.
    pub fn await_balanced(&mut self) -> Duration {
        let begun = Instant::now();
        loop {
            self.members.iter_mut().for_each(Member::follow);
            let share = self.partitions / self.members.len();
            let shared = self.members.iter().all(|member| member.live.len() >= share);
            let live: usize = self.members.iter().map(|member| member.live.len()).sum();
            if shared && live == self.partitions {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < PROGRESS_TIMEOUT,
                "{live} partitions are live"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What each has used so far.
    pub fn cpu_seconds(&self) -> Vec<f64> {
        let used = |member: &Member| cpu_seconds(member.process.id());
        self.members.iter().map(used).collect()
    }

    /// The peak of each.
    pub fn peak_mib(&self) -> Vec<f64> {
        let peak = |member: &Member| memory_mib(member.process.id(), "VmHWM");
        self.members.iter().map(peak).collect()
    }
}

impl Member {
    /// Reads on in its log.
    fn follow(&mut self) {
        let lines = self.process.lines_after(self.lines_read);
        self.lines_read += lines.len();
        for line in lines {
            let Ok(line) = serde_json::from_str::<Line>(&line.text) else {
                continue;
            };
            match (line.message.as_deref(), line.partition, line.partitions) {
                (Some("assigned"), _, Some(partitions)) => {
                    self.assigned = serde_json::from_str(&partitions).unwrap();
                    self.live = &self.live & &self.assigned;
                }
                (Some("restored"), Some(partition), _) => {
                    self.live.insert(partition);
                }
                _ => {}
            }
        }
    }
}
