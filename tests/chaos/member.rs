//! A member of the trackers' group: one process after another, and the faults injected into it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::deployment::Deployment;
use crate::schedule::{Lane, Step, TrackerFault};
use crate::support::faketime;
use crate::support::installation::SOON;
use crate::support::process::{Launch, Process};
use crate::support::wait::Deadline;

/// Exit code of a tracker that asks to be restarted, as Kubernetes would.
const EXIT_TO_RESTART: i32 = 1;
/// How long the next fault waits for a tracker's first restore.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from SIGTERM to SIGKILL, as in Kubernetes. Without faults a stop takes seconds; during
/// faults, brokers may not answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A member of the trackers' group; at most one process at a time.
pub struct Member<'a> {
    deployment: &'a Deployment<'a>,
    number: usize,
    starts: usize,
    tracker: Option<Process>,
    log: PathBuf,
    /// The clock offset for libfaketime; `None` if this member's clock cannot be set.
    clock: Option<PathBuf>,
}

impl<'a> Member<'a> {
    /// A member without a process.
    pub fn new(deployment: &'a Deployment<'a>, number: usize) -> Self {
        let settable = !number.is_multiple_of(2);
        let file = deployment.journal.folder().join(format!("clock-{number}"));
        let member = Self {
            deployment,
            number,
            starts: 0,
            tracker: None,
            log: PathBuf::new(),
            clock: settable.then_some(file),
        };
        member.set_clock(0);
        member
    }

    /// Injects faults until the schedule is over, then leaves the wanted process running.
    pub fn fail(mut self, mut lane: Lane) -> Self {
        let journal = &self.deployment.journal;
        while !journal.is_over() {
            if self.number >= journal.trackers() {
                self.stop();
                journal.wait_for_change();
                continue;
            }
            self.ensure_running();
            if !lane.early_fault() {
                self.wait_until_restored();
            }
            let step = lane.tracker(self.clock.is_some());
            journal.pace(step.after);
            self.inject(step);
        }
        self.ensure_running();
        self
    }

    /// Starts the process if the schedule wants one, stops it otherwise.
    pub fn ensure_running(&mut self) {
        if self.number >= self.deployment.journal.trackers() {
            self.stop();
            return;
        }
        self.check_exit();
        if self.tracker.is_none() {
            self.start();
        }
    }

    /// Stops the process, if any, by SIGTERM, then SIGKILL.
    pub fn stop(&mut self) {
        self.check_exit();
        let Some(mut tracker) = self.tracker.take() else {
            return;
        };
        send(&tracker, Signal::SIGTERM);
        let deadline = Deadline::after(STOP_TIMEOUT);
        while tracker.ended().is_none() && deadline.left().is_some() {
            thread::sleep(POLL_INTERVAL);
        }
        if tracker.ended().is_none() {
            send(&tracker, Signal::SIGKILL);
        }
        let status = tracker.wait(SOON);
        let description = format!("tracker {}: stopped, {status}", self.number);
        let journal = &self.deployment.journal;
        match (status.code(), status.signal()) {
            (Some(0), _) => journal.note(&description),
            (Some(EXIT_TO_RESTART), _) => {
                journal.remark("trackers exited to be restarted", &description);
            }
            (_, Some(signal)) if signal == Signal::SIGKILL as i32 => {
                journal.remark("trackers did not stop in time", &description);
            }
            _ => journal.violation(&description),
        }
    }

    fn start(&mut self) {
        self.starts += 1;
        let (deployment, name) = (self.deployment, format!("tracker-{}", self.number));
        let log = format!("{name}-{:03}.log", self.starts);
        self.log = deployment.journal.folder().join(&log);
        // The log goes to a file: long runs would fill the pipe's reader.
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
        let bootstrap = format!(
            "bootstrap.servers={}",
            deployment.networks.trackers.bootstrap()
        );
        let client = format!("client.id={name}");
        let mut flags = vec!["--group-protocol", deployment.protocol];
        // An open transaction of a killed tracker blocks all read-committed readers: keep it short.
        let short = ["transaction.timeout.ms=4000", "message.timeout.ms=4000"];
        for property in [bootstrap.as_str(), &client].into_iter().chain(short) {
            flags.extend(["-X", property]);
        }
        flags.extend(deployment.settings.flags.iter().map(String::as_str));
        let tracker = deployment.installation.tracker_of(launch, &flags).process;
        deployment.journal.note(&format!(
            "tracker {}: started as process {}, {log}",
            self.number,
            tracker.id()
        ));
        self.tracker = Some(tracker);
    }

    /// Waits until the tracker has restored a partition, or until [`RESTORE_TIMEOUT`].
    fn wait_until_restored(&self) {
        let journal = &self.deployment.journal;
        let deadline = Deadline::after(RESTORE_TIMEOUT);
        let works = || fs::read_to_string(&self.log).is_ok_and(|log| log.contains(r#""restored""#));
        while deadline.left().is_some() && !journal.is_over() && !works() {
            journal.pace(POLL_INTERVAL);
        }
    }

    /// Records an exit. Only an exit code other than [`EXIT_TO_RESTART`] is a violation.
    fn check_exit(&mut self) {
        let ended = self.tracker.as_mut().and_then(Process::ended);
        if let Some(status) = ended {
            let description = format!("tracker {}: exited unexpectedly, {status}", self.number);
            if status.code() == Some(EXIT_TO_RESTART) {
                self.deployment
                    .journal
                    .remark("trackers exited to be restarted", &description);
            } else {
                self.deployment.journal.violation(&description);
            }
            self.tracker = None;
        }
    }

    fn inject(&mut self, step: Step<TrackerFault>) {
        self.check_exit();
        let (journal, lasts) = (&self.deployment.journal, step.lasts);
        let description = format!("tracker {}: {} for {lasts:?}", self.number, step.fault);
        if self.tracker.is_none() || !journal.fault(step.fault.kind(), &description) {
            return;
        }
        match step.fault {
            TrackerFault::Kill => {
                self.kill();
                journal.pace(lasts);
            }
            TrackerFault::Leave => {
                self.stop();
                journal.pace(lasts);
            }
            TrackerFault::Freeze => {
                self.freeze(lasts);
                self.tracker.iter().for_each(|it| send(it, Signal::SIGCONT));
                journal.note(&format!("tracker {}: resumed", self.number));
            }
            TrackerFault::FreezeAndKill => {
                self.freeze(lasts);
                self.kill();
            }
            TrackerFault::Clock(by) => {
                self.set_clock(by);
                journal.pace(lasts);
                self.set_clock(0);
                journal.note(&format!("tracker {}: clock corrected", self.number));
            }
        }
    }

    fn freeze(&self, lasts: Duration) {
        self.tracker.iter().for_each(|it| send(it, Signal::SIGSTOP));
        self.deployment.journal.pace(lasts);
    }

    fn kill(&mut self) {
        if let Some(mut tracker) = self.tracker.take() {
            send(&tracker, Signal::SIGKILL);
            tracker.wait(SOON);
        }
    }

    /// Sets the clock offset in seconds; it takes effect within a second.
    fn set_clock(&self, wrong_by: i64) {
        if let Some(file) = &self.clock {
            fs::write(file, format!("{wrong_by:+}\n")).expect("written");
        }
    }
}

/// An ended process that was not waited for still owns its id.
fn send(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(process.id().try_into().expect("a process id"));
    signal::kill(pid, signal).expect("the signal is sent");
}
