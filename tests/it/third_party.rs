//! Programs of other projects, from the package registries (`tests/third-party/`, `examples/`).

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs};

use crate::support::process::{Launch, Process};

/// Environment variable that makes a missing npm, or a package that it cannot fetch, a failure.
pub const REQUIRED: &str = "SUNDOWN_TEST_REQUIRE_NPM";
/// For a server to start, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(240);
/// What a server prints once it listens, before its address.
const LISTENING: &str = "listening on ";

/// Installs the packages of `requirements.txt` into the folder `packages`.
pub const PIP_INSTALL: [&str; 10] = [
    "python3",
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--target=packages",
    "--requirement",
    "requirements.txt",
];

/// A server that ends when dropped.
pub struct Server {
    pub url: String,
    pub process: Process,
}

/// Starts a script of `tests/third-party/node`. `None` if npm is not installed and not required.
pub fn node(script: &str, variables: &[(&str, &OsStr)]) -> Option<Server> {
    let install = ["npm", "ci", "--ignore-scripts", "--silent"];
    let Some(folder) = prepare("tests/third-party/node", &install) else {
        assert!(env::var_os(REQUIRED).is_none(), "npm cannot be used");
        eprintln!("SKIPPED: npm is not installed or fetches nothing; {script} is not tested");
        return None;
    };
    let launch = Launch::program("node").arg(folder.join(script));
    Some(Server::start(set(launch, variables)))
}

/// Starts an application of `tests/third-party/spring` on a port.
pub fn spring(application: &str, port: u16, properties: &[(&str, &str)]) -> Server {
    let folder = prepare(
        "tests/third-party/spring",
        &["mvn", "--batch-mode", "--quiet", "package"],
    );
    let folder = folder.expect("Maven and its packages");
    let path = ["target/classes", "target/dependency/*"].map(|part| folder.join(part));
    let path = env::join_paths(path).expect("a class path");
    let launch = Launch::program("java")
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(path)
        .arg(format!("dev.sundown.thirdparty.{application}.Main"))
        .arg(format!("--server.port={port}"));
    let arguments = properties
        .iter()
        .map(|(name, value)| format!("--{name}={value}"));
    let process = launch.args(arguments).start();
    process.wait_for_line(START_TIMEOUT, |line| line.text.contains("Started Main in"));
    Server {
        url: format!("http://localhost:{port}"),
        process,
    }
}

/// Starts the mail server of `tests/third-party/mail`.
pub fn mail_server(variables: &[(&str, &OsStr)]) -> Server {
    let folder =
        prepare("tests/third-party/mail", &PIP_INSTALL).expect("Python, pip and its packages");
    let launch = Launch::program("python3")
        .arg(folder.join("server.py"))
        .env("PYTHONPATH", folder.join("packages"));
    Server::start(set(launch, variables))
}

/// Starts the receiver of Shared Signals of `tests/third-party/signals`.
pub fn signals(variables: &[(&str, &OsStr)]) -> Server {
    let install = [
        "cargo",
        "build",
        "--quiet",
        "--locked",
        "--target-dir=target",
    ];
    let folder = prepare("tests/third-party/signals", &install).expect("its packages");
    let program = folder.join("target/debug/signals-receiver");
    let program = program.to_str().expect("a path in UTF-8");
    Server::start(set(Launch::program(program), variables))
}

impl Server {
    fn start(launch: Launch) -> Self {
        let process = launch.start();
        let line = process.wait_for_line(START_TIMEOUT, |line| line.text.starts_with(LISTENING));
        let url = line.text[LISTENING.len()..].to_owned();
        Self { url, process }
    }
}

fn set(launch: Launch, variables: &[(&str, &OsStr)]) -> Launch {
    variables
        .iter()
        .fold(launch, |launch, (name, value)| launch.env(name, value))
}

/// Copies a project, a folder of this repository, into the cache and installs there what it needs,
/// once for each state of its files. `None` if the installation fails.
pub fn prepare(project: &str, install: &[&str]) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(project);
    let mut files = Vec::new();
    list(&source, &mut files);
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        fs::read(file).expect("a file").hash(&mut hasher);
    }
    let kind = project.rsplit('/').next().expect("a name");
    let name = format!("{kind}-{:016x}", hasher.finish());
    let folder = cache().join("third-party").join(name);
    if folder.exists() {
        return Some(folder);
    }
    // Renamed when whole, so that an interruption leaves no partial installation.
    let unfinished = folder.with_extension(std::process::id().to_string());
    for file in &files {
        let relative = file.strip_prefix(&source).expect("a path below it");
        let target = unfinished.join(relative);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(file, target).expect("a copy");
    }
    let mut command = Command::new(install[0]);
    let command = command.args(&install[1..]).current_dir(&unfinished);
    let installed = command.status().is_ok_and(|status| status.success());
    if installed {
        // A concurrent run may have renamed its folder first.
        let _ = fs::rename(&unfinished, &folder);
    }
    let _ = fs::remove_dir_all(unfinished);
    installed.then_some(folder)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The cache folder, as in `.ci/run` and `tests/kafka/kafka`.
pub fn cache() -> PathBuf {
    let of = |name: &str| env::var_os(name).map(PathBuf::from);
    let home = || of("HOME").unwrap_or_default().join(".cache");
    of("SUNDOWN_CACHE").unwrap_or_else(|| of("XDG_CACHE_HOME").unwrap_or_else(home).join("sundown"))
}
