//! The compared programs behind one interface.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::PARTITIONS;
use super::history::Timeouts;
use crate::measure::{STEP_TIMEOUT, await_restored, start_tracker};
use crate::support::installation::Installation;
use crate::support::process::{Launch, Process};

/// What keeps the sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sundown,
    InMemory,
    RocksDb,
}

impl Engine {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sundown => "Sundown",
            Self::InMemory => "Kafka Streams, in memory",
            Self::RocksDb => "Kafka Streams, RocksDB",
        }
    }

    /// In the names of topics and groups.
    const fn tag(self) -> &'static str {
        match self {
            Self::Sundown => "sundown",
            Self::InMemory => "memory",
            Self::RocksDb => "rocksdb",
        }
    }
}

/// One of them on the topics of an installation, with outputs of its own.
pub struct Competitor<'a> {
    engine: Engine,
    installation: &'a Installation<'a>,
    /// What the processes keep on disk.
    folder: TempDir,
}

impl<'a> Competitor<'a> {
    /// Creates its topics; starts nothing.
    pub fn new(engine: Engine, installation: &'a Installation<'a>) -> Self {
        let competitor = Self {
            engine,
            installation,
            folder: TempDir::new().unwrap(),
        };
        let target = format!("expired-{}", engine.tag());
        let partitions = PARTITIONS.to_string();
        installation.run_within(
            STEP_TIMEOUT,
            &[
                "topics",
                "create",
                "--partitions",
                &partitions,
                "--expired-sessions-topic",
                &target,
            ],
        );
        competitor
    }

    pub fn target(&self) -> String {
        self.installation
            .topic(&format!("expired-{}", self.engine.tag()))
    }

    /// Without the prefix.
    pub fn group(&self) -> String {
        format!("group-{}", self.engine.tag())
    }

    /// The topics that its state is restored from.
    pub fn changelogs(&self) -> Vec<String> {
        match self.engine {
            Engine::Sundown => vec![self.installation.topic("sundown.checkpoint")],
            Engine::InMemory | Engine::RocksDb => {
                let application = self.installation.topic(&self.group());
                let changelog = |store| format!("{application}-{store}-changelog");
                vec![changelog("sessions"), changelog("deadlines")]
            }
        }
    }

    /// A process that has restored `partitions`, its share of all; `name` is the
    /// name of its folder.
    pub fn start(&self, name: &str, timeouts: Timeouts, partitions: u64) -> Process {
        match self.engine {
            Engine::Sundown => {
                let process = self.tracker(timeouts);
                await_restored(&process, partitions);
                process
            }
            Engine::InMemory | Engine::RocksDb => {
                let process = self.streams(name, timeouts);
                process.wait_for_lines(STEP_TIMEOUT, 1, "RUNNING");
                process
            }
        }
    }

    fn tracker(&self, timeouts: Timeouts) -> Process {
        let target = format!("expired-{}", self.engine.tag());
        start_tracker(
            self.installation,
            &[
                "--group",
                &self.group(),
                "--expired-sessions-topic",
                &target,
                "--idle-timeout",
                &format!("{}s", timeouts.idle.as_secs()),
                "--absolute-timeout",
                &format!("{}s", timeouts.absolute.as_secs()),
            ],
        )
    }

    fn streams(&self, name: &str, timeouts: Timeouts) -> Process {
        let build = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/benches/kafka-streams"
        ));
        let jar = build.join("target/kafka-streams-sessions-1.jar");
        if !is_built(&jar, &build) {
            let mut maven = Command::new("mvn");
            let status = maven
                .args(["-B", "-q", "package"])
                .current_dir(&build)
                .status();
            assert!(status.unwrap().success(), "mvn package");
        }
        let classes = format!("{}:{}/target/dependency/*", jar.display(), build.display());
        Launch::program("java")
            .args(["-Xmx1g", "-cp", &classes, "dev.sundown.peer.Main"])
            .arg(self.installation.kafka.bootstrap())
            .arg(self.installation.topic(&self.group()))
            .arg(self.installation.topic("session_logs"))
            .arg(self.target())
            .arg(self.folder.path().join(name))
            .arg(self.engine.tag())
            .args(timeouts.milliseconds())
            .start()
    }
}

/// Whether the jar is newer than its sources.
fn is_built(jar: &Path, build: &Path) -> bool {
    let Ok(built_at) = jar.metadata().and_then(|jar| jar.modified()) else {
        return false;
    };
    let mut paths = vec![build.join("pom.xml"), build.join("src")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.metadata().unwrap().modified().unwrap() > built_at {
            return false;
        }
    }
    true
}
