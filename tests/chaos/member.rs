//! A member of the trackers' group or of ingest's: one process after another, and the faults injected into it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::deployment::Deployment;
use crate::schedule::{Lane, MemberFault, Role, Step};
use crate::support::faketime;
use crate::support::installation::SOON;
use crate::support::process::{Launch, Process};
use crate::support::role;
use crate::support::wait::Deadline;

/// Exit code of a process that asks to be restarted, as Kubernetes would.
const EXIT_TO_RESTART: i32 = 1;
/// The label under which such exits are counted.
const RESTARTED: &str = "processes exited to be restarted";
/// How long the next fault waits until a process has partitions.
const ASSIGNMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from SIGTERM to SIGKILL, as in Kubernetes. Without faults a stop takes seconds; during
/// faults, brokers may not answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A member of a group; at most one process at a time.
pub struct Member<'a> {
    deployment: &'a Deployment<'a>,
    role: Role,
    number: usize,
    starts: usize,
    process: Option<Process>,
    log: PathBuf,
    /// The clock offset for libfaketime; `None` if this member's clock cannot be set.
    clock: Option<PathBuf>,
}

impl<'a> Member<'a> {
    /// A member without a process.
    pub fn new(deployment: &'a Deployment<'a>, role: Role, number: usize) -> Self {
        let settable = !number.is_multiple_of(2);
        let file = format!("clock-{}", role.name(number));
        let file = deployment.journal.folder().join(file);
        let member = Self {
            deployment,
            role,
            number,
            starts: 0,
            process: None,
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
            if !self.is_wanted() {
                self.stop();
                journal.wait_for_change();
                continue;
            }
            self.ensure_running();
            if !lane.early_fault() {
                self.wait_until_assigned();
            }
            let step = lane.member(self.clock.is_some());
            journal.pace(step.after);
            self.inject(step);
        }
        self.ensure_running();
        self
    }

    /// Starts the process if the schedule wants one, stops it otherwise.
    pub fn ensure_running(&mut self) {
        if !self.is_wanted() {
            self.stop();
            return;
        }
        self.check_exit();
        if self.process.is_none() {
            self.start();
        }
    }

    fn is_wanted(&self) -> bool {
        match self.role {
            Role::Tracker => self.number < self.deployment.journal.trackers(),
            Role::Ingest => true,
        }
    }

    fn name(&self) -> String {
        self.role.name(self.number)
    }

    /// Stops the process, if any, by SIGTERM, then SIGKILL.
    pub fn stop(&mut self) {
        self.check_exit();
        let Some(mut process) = self.process.take() else {
            return;
        };
        send(&process, Signal::SIGTERM);
        let deadline = Deadline::after(STOP_TIMEOUT);
        while process.ended().is_none() && deadline.left().is_some() {
            thread::sleep(POLL_INTERVAL);
        }
        if process.ended().is_none() {
            send(&process, Signal::SIGKILL);
        }
        let status = process.wait(SOON);
        let description = format!("{}: stopped, {status}", self.name());
        let journal = &self.deployment.journal;
        match (status.code(), status.signal()) {
            (Some(0), _) => journal.note(&description),
            (Some(EXIT_TO_RESTART), _) => {
                journal.remark(RESTARTED, &description);
            }
            (_, Some(signal)) if signal == Signal::SIGKILL as i32 => {
                journal.remark("processes did not stop in time", &description);
            }
            _ => journal.violation(&description),
        }
    }

    /// Saves the readiness and the metrics of the process, if any, beside its log.
    pub fn save_state(&self) {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut entries = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let address = entries.find_map(|entry: Value| Some(entry["admin"].as_str()?.to_owned()));
        let (Some(_), Some(address)) = (&self.process, address) else {
            return;
        };
        for page in ["readyz", "metrics"] {
            let body = role::get(&address, &format!("/{page}"));
            let body = body.unwrap_or_else(|| "no response".to_owned());
            fs::write(self.log.with_extension(page), body).expect("written");
        }
    }

    fn start(&mut self) {
        self.starts += 1;
        let (deployment, name) = (self.deployment, self.name());
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
            deployment.networks.members.bootstrap()
        );
        let client = format!("client.id={name}");
        let mut flags = vec!["--group-protocol", deployment.protocol];
        // An open transaction of a killed process blocks all read-committed readers: keep it short.
        let short = ["transaction.timeout.ms=4000", "message.timeout.ms=4000"];
        for property in [bootstrap.as_str(), &client].into_iter().chain(short) {
            flags.extend(["-X", property]);
        }
        let process = match self.role {
            Role::Tracker => {
                flags.extend(deployment.settings.flags.iter().map(String::as_str));
                deployment.installation.tracker_of(launch, &flags).process
            }
            Role::Ingest => {
                let installation = &deployment.installation;
                let website = deployment.website.as_ref().expect("ingest has a source");
                website.ingest(installation, launch, &flags)
            }
        };
        let id = process.id();
        let started = format!("{name}: started as process {id}, {log}");
        deployment.journal.note(&started);
        self.process = Some(process);
    }

    /// Waits until the process has a partition, restored if it is a tracker, or until [`ASSIGNMENT_TIMEOUT`].
    fn wait_until_assigned(&self) {
        let journal = &self.deployment.journal;
        let deadline = Deadline::after(ASSIGNMENT_TIMEOUT);
        let message = match self.role {
            Role::Tracker => r#""restored""#,
            Role::Ingest => r#""assigned""#,
        };
        let works = || fs::read_to_string(&self.log).is_ok_and(|log| log.contains(message));
        while deadline.left().is_some() && !journal.is_over() && !works() {
            journal.pace(POLL_INTERVAL);
        }
    }

    /// Records an exit. Only an exit code other than [`EXIT_TO_RESTART`] is a violation.
    fn check_exit(&mut self) {
        let ended = self.process.as_mut().and_then(Process::ended);
        if let Some(status) = ended {
            let description = format!("{}: exited unexpectedly, {status}", self.name());
            if status.code() == Some(EXIT_TO_RESTART) {
                self.deployment.journal.remark(RESTARTED, &description);
            } else {
                self.deployment.journal.violation(&description);
            }
            self.process = None;
        }
    }

    fn inject(&mut self, step: Step<MemberFault>) {
        self.check_exit();
        let (journal, lasts) = (&self.deployment.journal, step.lasts);
        let name = self.name();
        let description = format!("{name}: {} for {lasts:?}", step.fault);
        if self.process.is_none() || !journal.fault(step.fault.kind(self.role), &description) {
            return;
        }
        match step.fault {
            MemberFault::Kill => {
                self.kill();
                journal.pace(lasts);
            }
            MemberFault::Leave => {
                self.stop();
                journal.pace(lasts);
            }
            MemberFault::Freeze => {
                self.freeze(lasts);
                self.process.iter().for_each(|it| send(it, Signal::SIGCONT));
                journal.note(&format!("{name}: resumed"));
            }
            MemberFault::FreezeAndKill => {
                self.freeze(lasts);
                self.kill();
            }
            MemberFault::Clock(by) => {
                self.set_clock(by);
                journal.pace(lasts);
                self.set_clock(0);
                journal.note(&format!("{name}: clock corrected"));
            }
        }
    }

    fn freeze(&self, lasts: Duration) {
        self.process.iter().for_each(|it| send(it, Signal::SIGSTOP));
        self.deployment.journal.pace(lasts);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            send(&process, Signal::SIGKILL);
            process.wait(SOON);
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
