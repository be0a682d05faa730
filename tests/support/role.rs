//! A running role, observed through its log and its admin port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::installation::SOON;
use super::process::{Launch, Line, Process, Stream};
use super::wait::{eventually, within};

pub struct RoleProcess {
    pub process: Process,
    admin: OnceLock<String>,
}

impl RoleProcess {
    pub fn start(launch: Launch) -> Self {
        Self {
            process: launch.start(),
            admin: OnceLock::new(),
        }
    }

    /// Waits until it has its partitions, restored, and may end sessions.
    pub fn await_ready(&self) {
        let is_ready = || {
            let readiness = self.readiness();
            readiness["ok"].as_bool().filter(|ok| *ok)
        };
        assert!(
            within(SOON, is_ready).is_some(),
            "not ready within {SOON:?}: {}",
            self.readiness()
        );
    }

    /// What `/readyz` says: `{"ok": …, "reasons": {what: why}}`.
    pub fn readiness(&self) -> Value {
        let answer = self.get("/readyz").unwrap_or_default();
        serde_json::from_str(&answer).unwrap_or_default()
    }

    /// What `/livez` says.
    pub fn liveness(&self) -> Value {
        let answer = self.get("/livez").unwrap_or_default();
        serde_json::from_str(&answer).unwrap_or_default()
    }

    /// Waits until `/readyz` gives a reason of that name which contains `words`.
    pub fn await_unready(&self, reason: &str, words: &str) {
        eventually(SOON, &format!("'{words}' as a reason"), || {
            let readiness = self.readiness();
            let given = readiness["reasons"][reason].as_str()?;
            given.contains(words).then_some(())
        });
    }

    /// The sum of a counter over its labels; `labels` is a part of them, or empty.
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        let metrics = self.get("/metrics").unwrap_or_default();
        metrics
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// A gauge; `labels` is a part of its labels.
    pub fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let metrics = self.get("/metrics")?;
        let mut lines = metrics.lines();
        let line = lines.find(|line| line.starts_with(name) && line.contains(labels))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.text(Stream::Stderr)
    }

    /// Waits until that sum is at least `value`.
    pub fn await_metric(&self, name: &str, labels: &str, value: u64) {
        eventually(SOON, &format!("{name} {labels} of {value}"), || {
            (self.metric(name, labels) >= value).then_some(())
        });
    }

    /// Waits until it has logged a message that starts like this, and returns the log entry.
    pub fn await_message(&self, message: &str) -> Value {
        let line = self
            .process
            .wait_for_line(SOON, |line| is_message(line, message));
        serde_json::from_str(&line.text).expect("JSON")
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(self) {
        self.process.stop(Duration::from_secs(10));
    }

    /// Kills it at a moment at which `amid` holds; frozen, it stays so. After some tries, at
    /// any moment.
    pub fn kill_when(mut self, amid: impl Fn() -> bool) {
        for _ in 0..20 {
            self.process.sigstop();
            if amid() {
                break;
            }
            self.process.sigcont();
            thread::sleep(Duration::from_millis(7));
        }
        self.kill();
    }

    /// Ends it in the midst of whatever it is doing.
    pub fn kill(mut self) {
        self.process.sigkill();
        self.process.wait(SOON);
    }

    /// Where its admin port is, on this machine.
    pub fn admin(&self) -> String {
        let address = self.admin.get_or_init(|| {
            let entry = self.await_message("serving /livez");
            entry["admin"].as_str().expect("an address").to_owned()
        });
        address.replace("0.0.0.0", "127.0.0.1")
    }

    fn get(&self, path: &str) -> Option<String> {
        get(&self.admin(), path)
    }
}

/// The body of a response from an admin port.
pub fn get(admin: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (_, body) = response.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

fn is_message(line: &Line, message: &str) -> bool {
    // Logs are JSON where there is no terminal.
    let entry: Option<Value> = serde_json::from_str(&line.text).ok();
    entry.is_some_and(|entry| {
        let text = entry["message"].as_str();
        text.is_some_and(|text| text.starts_with(message))
    })
}
