//! Processes of Sundown and topics of their own, and what such a process has used.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use tempfile::NamedTempFile;

const SUNDOWN: &str = env!("CARGO_BIN_EXE_sundown");

/// The value of a flag of the benchmark.
pub fn flag(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    let value = arguments.nth(1);
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// The text of a flag of the benchmark.
pub fn text_flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// Topics with a prefix of their own on a Kafka.
#[derive(Clone)]
pub struct Installation {
    pub bootstrap: String,
    pub prefix: String,
    binary: String,
}

impl Installation {
    /// Under a name that no other run has; without topics.
    pub fn new(bootstrap: &str, name: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            prefix: format!("{name}-{}-", std::process::id()),
            binary: SUNDOWN.to_owned(),
        }
    }

    /// The same topics, with processes of another build.
    pub fn with_binary(&self, binary: &str) -> Self {
        Self {
            binary: binary.to_owned(),
            ..self.clone()
        }
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.envs([
            ("SUNDOWN_BOOTSTRAP_SERVERS", &self.bootstrap),
            ("SUNDOWN_TOPIC_PREFIX", &self.prefix),
        ]);
        command
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) {
        let status = self
            .command()
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "sundown {arguments:?}");
    }

    pub fn create_topics(&self, partitions: u64) {
        self.run(&["topics", "create", "--partitions", &partitions.to_string()]);
    }

    /// One policy for every session.
    pub fn apply_policy(&self, idle_timeout: &str) {
        let mut file = NamedTempFile::with_suffix(".yaml").unwrap();
        write!(
            file,
            "{{apiVersion: sundown.dev/v1alpha1, kind: SessionPolicy, \
             metadata: {{name: default}}, spec: {{idleTimeout: {idle_timeout}}}}}"
        )
        .unwrap();
        self.run(&["policy", "apply", "-f", file.path().to_str().unwrap()]);
    }

    /// A tracker whose log is read.
    pub fn tracker(&self, arguments: &[&str]) -> Process {
        let mut child = self
            .command()
            .args(["tracker", "--log-format", "json"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = child.stderr.take().unwrap();
        Process::new(child, log)
    }
}

/// A process that ends with its owner.
pub struct Process {
    child: Child,
    log: Receiver<String>,
}

impl Process {
    /// What it says about itself is read from `log`; warnings are shown.
    pub fn new(child: Child, log: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if line.contains("\"WARN\"") || line.contains("\"ERROR\"") {
                    eprintln!("{line}");
                }
                // Nobody may want to know any more.
                _ = sender.send(line);
            }
        });
        Self {
            child,
            log: receiver,
        }
    }

    /// Waits until so many lines of its log contain `text`.
    pub fn await_lines(&self, count: u64, text: &str) {
        for _ in 0..count {
            let found = self.log.iter().any(|line| line.contains(text));
            assert!(found, "the process ended before it said {text}");
        }
    }

    /// What it has said since it was last asked.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.log.try_iter()
    }

    pub fn id(&self) -> String {
        self.child.id().to_string()
    }

    /// SIGKILL.
    pub fn kill(self) {
        drop(self);
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// User and system time of a process and its threads so far (proc(5), fields 14 and 15).
pub fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // USER_HZ is 100 on every Linux that Rust supports.
    ticks / 100.0
}

/// Resident memory of a process: `VmRSS` now, `VmHWM` at its peak.
pub fn memory_mib(pid: &str, kind: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(kind)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}
