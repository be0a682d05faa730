//! Brings up Apache Kafka through `tests/kafka/kafka`.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::ClientConfig;
use uuid::Uuid;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka");

/// For a broker that no test kills: on a machine that is overloaded for seconds it must not take
/// itself for dead, for then its partitions have no leader.
const STEADY: [&str; 2] = ["--set", "broker.session.timeout.ms=30000"];

/// A cluster to talk to; `topic` and `group` add what tests do with it.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
}

impl Kafka {
    /// The cluster that all tests share: the one at `SUNDOWN_TEST_BOOTSTRAP`, or else one broker
    /// that the first caller starts and that ends with this process.
    ///
    /// Keep to topics and groups under a [`unique_prefix`].
    pub fn shared() -> &'static Kafka {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| match std::env::var("SUNDOWN_TEST_BOOTSTRAP") {
                Ok(bootstrap) => Ok(Kafka { bootstrap }),
                Err(_) => started(up_command(&new_dir(), 1, process::id()).args(STEADY)),
            })
            .as_ref()
            .unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// A cluster of the test's own, whose brokers it may kill; it ends when dropped.
    pub fn own(nodes: u8) -> OwnKafka {
        Self::own_of(nodes, process::id())
    }

    /// One broker of the test's own that wants to know who its users are: it has permissions, and
    /// two more listeners (`up --secure` in `tests/kafka/kafka`). Users with a password are given as
    /// `name=password`. This `bootstrap` is a superuser's.
    pub fn secure(certificates: &Path, users: &[String]) -> OwnKafka {
        let dir = new_dir();
        let mut command = up_command(&dir, 1, process::id());
        command.args(STEADY).arg("--secure").arg(certificates);
        for user in users {
            command.args(["--scram", user]);
        }
        match started(&mut command) {
            Ok(kafka) => OwnKafka { kafka, dir },
            Err(reason) => panic!("{reason}"),
        }
    }

    /// Like [`Kafka::own`], and also ends when process `owner` does.
    pub fn own_of(nodes: u8, owner: u32) -> OwnKafka {
        Self::own_with(nodes, owner, &[])
    }

    /// Like [`Kafka::own_of`], with further options of the script.
    pub fn own_with(nodes: u8, owner: u32, options: &[String]) -> OwnKafka {
        Self::own_in(new_dir(), nodes, owner, options)
    }

    /// Like [`Kafka::own_with`], in a folder from [`new_dir`].
    pub fn own_in(dir: PathBuf, nodes: u8, owner: u32, options: &[String]) -> OwnKafka {
        match up(&dir, nodes, owner, options) {
            Ok(kafka) => OwnKafka { kafka, dir },
            Err(reason) => panic!("{reason}"),
        }
    }

    /// A cluster that is reached through this address.
    pub fn at(bootstrap: String) -> Self {
        Self { bootstrap }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What every client of a test starts from.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            // Brokers come back within seconds here; the default backs off to ten.
            .set("reconnect.backoff.max.ms", "500");
        config
    }
}

/// A cluster that one test has for itself. Nodes count from 1.
#[derive(Debug)]
pub struct OwnKafka {
    kafka: Kafka,
    dir: PathBuf,
}

impl OwnKafka {
    /// Where its data and logs are (`node-1/broker.log`).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where another listener listens, `tls` or `scram`.
    pub fn address(&self, listener: &str) -> String {
        let address = std::fs::read_to_string(self.dir.join(listener));
        address
            .expect("a broker with that listener")
            .trim()
            .to_owned()
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&self, node: u8) {
        self.script("kill", node);
    }

    /// Starts a node again on its port and its data, and waits until it is ready.
    pub fn start(&self, node: u8) {
        self.script("start", node);
    }

    /// Freezes a node (SIGSTOP): its connections stay open and nothing answers.
    pub fn stop(&self, node: u8) {
        self.script("stop", node);
    }

    /// Lets a frozen node go on.
    pub fn cont(&self, node: u8) {
        self.script("cont", node);
    }

    fn script(&self, command: &str, node: u8) {
        run(Command::new(SCRIPT)
            .arg(command)
            .arg("--dir")
            .arg(&self.dir)
            .arg(node.to_string()))
        .unwrap_or_else(|reason| panic!("{reason}"));
    }
}

impl Deref for OwnKafka {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        &self.kafka
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        // Not a second panic: the watchdog is there for what fails here.
        if let Err(reason) = run(Command::new(SCRIPT).args(["down", "--dir"]).arg(&self.dir)) {
            eprintln!("{reason}");
        }
    }
}

/// A prefix for the topics and groups of one test run: `name-1a2b3c4d-`.
pub fn unique_prefix(name: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{name}-{}-", &id[..8])
}

/// The folder of a cluster that has not been started yet.
pub fn new_dir() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}-{number}", process::id()))
}

fn up(dir: &Path, nodes: u8, owner: u32, options: &[String]) -> Result<Kafka, String> {
    started(up_command(dir, nodes, owner).args(options))
}

fn up_command(dir: &Path, nodes: u8, owner: u32) -> Command {
    let mut command = Command::new(SCRIPT);
    command.arg("up").arg("--dir").arg(dir);
    command.args(["--nodes", &nodes.to_string(), "--owner", &owner.to_string()]);
    command
}

fn started(command: &mut Command) -> Result<Kafka, String> {
    let output = run(command)?;
    let bootstrap = output.lines().last().unwrap_or_default().to_owned();
    Ok(Kafka { bootstrap })
}

/// Runs the script: its standard output, or what it said went wrong.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{SCRIPT} cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
