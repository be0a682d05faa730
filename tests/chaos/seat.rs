//! A place for a tracker, and what happens to the trackers in it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::eventually::Deadline;
use crate::faketime;
use crate::installation::SOON;
use crate::process::{Launch, Process};
use crate::schedule::{Lane, Step, TrackerFault};
use crate::site::Site;

/// What a tracker exits with when it cannot go on; to be started again, as Kubernetes does.
const GIVEN_UP: i32 = 1;
/// How long a tracker may take to begin to work before its next fault comes all the same.
const UNDISTURBED: Duration = Duration::from_secs(10);
/// How long one that is told to stop may take. Longer than without faults, when it takes seconds:
/// it may be talking to brokers that do not answer. Kubernetes waits as long, and kills it then.
const GRACE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// A place for a tracker: one process after the other.
pub struct Seat<'a> {
    site: &'a Site<'a>,
    number: usize,
    starts: usize,
    tracker: Option<Process>,
    /// What it logs.
    log: PathBuf,
    /// By how much the trackers' clock is wrong, if that can be set.
    clock: Option<PathBuf>,
}

impl<'a> Seat<'a> {
    /// Nobody is there yet.
    pub fn new(site: &'a Site<'a>, number: usize) -> Self {
        let settable = !number.is_multiple_of(2);
        let file = site.journal.folder().join(format!("clock-{number}"));
        let seat = Self {
            site,
            number,
            starts: 0,
            tracker: None,
            log: PathBuf::new(),
            clock: settable.then_some(file),
        };
        seat.set_clock(0);
        seat
    }

    /// Has trackers come, go and fail until there are to be no more faults. Those that are still
    /// wanted run in the end.
    pub fn fail(mut self, mut lane: Lane) -> Self {
        let journal = &self.site.journal;
        while !journal.is_over() {
            if self.number >= journal.trackers() {
                self.leave();
                journal.await_change();
                continue;
            }
            self.tend();
            if !lane.hasty() {
                self.await_work();
            }
            let step = lane.tracker(self.clock.is_some());
            journal.pace(step.after);
            self.inject(step);
        }
        self.tend();
        self
    }

    /// Has a tracker run if one is wanted here, and none if not.
    pub fn tend(&mut self) {
        if self.number >= self.site.journal.trackers() {
            self.leave();
            return;
        }
        self.notice_end();
        if self.tracker.is_none() {
            self.start();
        }
    }

    /// Has the tracker stop, if there is one.
    pub fn leave(&mut self) {
        self.notice_end();
        let Some(mut tracker) = self.tracker.take() else {
            return;
        };
        send(&tracker, Signal::SIGTERM);
        let deadline = Deadline::after(GRACE);
        while tracker.ended().is_none() && deadline.left().is_some() {
            thread::sleep(LOOK);
        }
        if tracker.ended().is_none() {
            send(&tracker, Signal::SIGKILL);
        }
        let status = tracker.wait(SOON);
        let told = format!("tracker {}: stopped, {status}", self.number);
        let journal = &self.site.journal;
        match (status.code(), status.signal()) {
            (Some(0), _) => journal.note(&told),
            (Some(GIVEN_UP), _) => journal.remark("trackers gave up", &told),
            (_, Some(signal)) if signal == Signal::SIGKILL as i32 => {
                journal.remark("trackers did not stop in time", &told);
            }
            _ => journal.trouble(&told),
        }
    }

    fn start(&mut self) {
        self.starts += 1;
        let (site, name) = (self.site, format!("tracker-{}", self.number));
        let log = format!("{name}-{:03}.log", self.starts);
        self.log = site.journal.folder().join(&log);
        // Its log goes to a file: a thousand faults make long ones.
        let launch = Launch::program("sh")
            .args(["-c", r#"exec "$0" "$@" 2>"$LOG""#])
            .arg(env!("CARGO_BIN_EXE_sundown"))
            .env("LOG", &self.log);
        let launch = match &self.clock {
            Some(file) => faketime::preload(launch)
                .env("FAKETIME_TIMESTAMP_FILE", file)
                .env("FAKETIME_CACHE_DURATION", "1"),
            None => launch,
        };
        let bootstrap = format!("bootstrap.servers={}", site.network.bootstrap());
        let client = format!("client.id={name}");
        let mut flags = vec!["--group-protocol", site.protocol];
        // What a killed tracker leaves open holds back everybody else, but not for most of the time.
        let short = ["transaction.timeout.ms=4000", "message.timeout.ms=4000"];
        for property in [bootstrap.as_str(), &client].into_iter().chain(short) {
            flags.extend(["-X", property]);
        }
        flags.extend(site.settings.flags.iter().map(String::as_str));
        let tracker = site.installation.tracker_of(launch, &flags).process;
        site.journal.note(&format!(
            "tracker {}: started as process {}, {log}",
            self.number,
            tracker.id()
        ));
        self.tracker = Some(tracker);
    }

    /// Waits until the tracker has restored a partition. Other faults may keep it from that.
    fn await_work(&self) {
        let journal = &self.site.journal;
        let deadline = Deadline::after(UNDISTURBED);
        let works = || fs::read_to_string(&self.log).is_ok_and(|log| log.contains(r#""restored""#));
        while deadline.left().is_some() && !journal.is_over() && !works() {
            journal.pace(LOOK);
        }
    }

    /// A tracker that has given up is no fault, and has to be started again; one that has crashed
    /// is.
    fn notice_end(&mut self) {
        let ended = self.tracker.as_mut().and_then(Process::ended);
        if let Some(status) = ended {
            let told = format!("tracker {}: ended by itself, {status}", self.number);
            if status.code() == Some(GIVEN_UP) {
                self.site.journal.remark("trackers gave up", &told);
            } else {
                self.site.journal.trouble(&told);
            }
            self.tracker = None;
        }
    }

    fn inject(&mut self, step: Step<TrackerFault>) {
        self.notice_end();
        let (journal, lasts) = (&self.site.journal, step.lasts);
        let told = format!("tracker {}: {} for {lasts:?}", self.number, step.fault);
        if self.tracker.is_none() || !journal.fault(step.fault.kind(), &told) {
            return;
        }
        match step.fault {
            TrackerFault::Kill => {
                self.kill();
                journal.pace(lasts);
            }
            TrackerFault::Leave => {
                self.leave();
                journal.pace(lasts);
            }
            TrackerFault::Freeze => {
                self.freeze(lasts);
                self.tracker.iter().for_each(|it| send(it, Signal::SIGCONT));
                journal.note(&format!("tracker {}: goes on", self.number));
            }
            TrackerFault::FreezeAndKill => {
                self.freeze(lasts);
                self.kill();
            }
            TrackerFault::Clock(by) => {
                self.set_clock(by);
                journal.pace(lasts);
                self.set_clock(0);
                journal.note(&format!("tracker {}: clock set right", self.number));
            }
        }
    }

    fn freeze(&self, lasts: Duration) {
        self.tracker.iter().for_each(|it| send(it, Signal::SIGSTOP));
        self.site.journal.pace(lasts);
    }

    fn kill(&mut self) {
        if let Some(mut tracker) = self.tracker.take() {
            send(&tracker, Signal::SIGKILL);
            tracker.wait(SOON);
        }
    }

    /// Takes effect within a second.
    fn set_clock(&self, wrong_by: i64) {
        if let Some(file) = &self.clock {
            fs::write(file, format!("{wrong_by:+}\n")).expect("written");
        }
    }
}

/// The process may have ended, but has not been waited for: its id is its own.
fn send(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(process.id().try_into().expect("a process id"));
    signal::kill(pid, signal).expect("the signal is sent");
}
