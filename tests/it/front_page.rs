//! The commands of README.md and of the local tutorial, typed as written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Line, Process, SUNDOWN, Stream};
use crate::support::wait::eventually;

const TIMEOUT: Duration = Duration::from_secs(90);

/// Commands that are not typed here: (beginning, what runs them or why none does).
const ELSEWHERE: [(&str, &str); 9] = [
    ("cargo test", "runs this test"),
    (
        "cargo install --locked --path .",
        "builds for minutes; the binary is the one under test",
    ),
    ("export PATH=", "the test sets it"),
    ("export SUNDOWN_BOOTSTRAP_SERVERS=", "the test sets it"),
    (
        "helm install sundown charts/sundown ",
        "tests/chart, tests/cluster",
    ),
    (
        "helm install sundown oci://",
        "published by a release; .ci/run release --dry-run installs the package",
    ),
    (
        "docker run ",
        "published by a release; the image job of the CI workflow runs it",
    ),
    (
        "tar -xzf sundown-VERSION-",
        "published by a release; .ci/run release --dry-run extracts it",
    ),
    ("kubectl ", "tests/cluster"),
];
/// Commands that run until they are stopped.
const LONG_RUNNING: [&str; 5] = ["tracker", "handler", "console", "ingest", "produce"];

/// A terminal of the reader, in a folder with the files that the page shows.
struct Reader {
    folder: tempfile::TempDir,
    prefix: String,
    running: Vec<(String, Process)>,
}

impl Reader {
    fn of(page: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("actions.yaml"),
            "actions: [{name: audit, type: log}]\n",
        )
        .unwrap();
        let (_, policy) = page.split_once("```yaml\n").expect("a policy on the page");
        let (policy, _) = policy.split_once("```").unwrap();
        fs::write(folder.path().join("policies.yaml"), policy).unwrap();
        Self {
            folder,
            prefix: unique_prefix("front-page"),
            running: Vec::new(),
        }
    }

    /// Types a command; one that ends has to succeed.
    fn enter(&mut self, command: &str) {
        eprintln!("$ {command}");
        // There is no terminal to confirm on.
        let confirmed = match command.starts_with("sundown revoke --attribute") {
            true => format!("{command} --yes"),
            false => command.to_owned(),
        };
        let word = command.split(' ').nth(1).unwrap();
        if !LONG_RUNNING.contains(&word) {
            // A user may have no live session yet.
            return eventually(TIMEOUT, command, || {
                let mut process = self.start(&confirmed);
                let is_done = process.wait(TIMEOUT).success();
                eprint!("{}", process.text(Stream::Stderr));
                is_done.then_some(())
            });
        }
        let process = self.start(&confirmed);
        if word == "tracker" {
            process.wait_for_line(TIMEOUT, |line| line.text.contains("restored"));
        }
        self.running.push((word.to_owned(), process));
    }

    fn start(&self, command: &str) -> Process {
        let path = std::env::var("PATH").unwrap();
        let programs = Path::new(SUNDOWN).parent().unwrap().display();
        Launch::program("sh")
            .args([
                "-c",
                &format!("cd {} && exec {command}", self.folder.path().display()),
            ])
            .env("PATH", format!("{programs}:{path}"))
            .env("SUNDOWN_BOOTSTRAP_SERVERS", Kafka::shared().bootstrap())
            .env("SUNDOWN_TOPIC_PREFIX", &self.prefix)
            .env("SUNDOWN_CONSOLE_LISTEN", "127.0.0.1:0")
            .env("SUNDOWN_ADMIN_LISTEN", "127.0.0.1:0")
            .start()
    }

    /// Waits until the handler has acted on a terminal event, and checks that no role has ended.
    fn see_endings(mut self) {
        let (_, handler) = self
            .running
            .iter()
            .find(|(word, _)| word == "handler")
            .unwrap();
        handler.wait_for_line(TIMEOUT, |line: &Line| line.text.contains("session ended"));
        for (word, process) in &mut self.running {
            assert!(process.ended().is_none(), "{word} has ended");
        }
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    type_in(include_str!("../../README.md"), 12);
}

#[test]
fn the_commands_of_the_local_tutorial_work() {
    type_in(include_str!("../../docs/tutorials/local.md"), 11);
}

/// Types the commands of the page's blocks; at least `count`.
fn type_in(page: &str, count: usize) {
    let mut reader = Reader::of(page);
    let mut typed = 0;
    for command in commands(page) {
        if let Some((_, reason)) = ELSEWHERE
            .iter()
            .find(|(start, _)| command.starts_with(start))
        {
            eprintln!("left out: {command} ({reason})");
        } else if command == "cargo run --release -- demo" {
            see_demo();
            typed += 1;
        } else {
            assert!(command.starts_with("sundown "), "no rule for '{command}'");
            reader.enter(&command);
            typed += 1;
        }
    }
    assert!(typed >= count, "{typed} commands");
    reader.see_endings();
}

/// Without Kafka, as `cargo run` starts it, but for the port of the console.
fn see_demo() {
    let demo = Launch::sundown()
        .arg("demo")
        .env("SUNDOWN_CONSOLE_LISTEN", "127.0.0.1:0")
        .start();
    demo.wait_for_line(TIMEOUT, |line| line.text.contains("Console at http://"));
    demo.wait_for_line(TIMEOUT, |line| line.text.contains("ended: "));
}

/// Returns the commands in the blocks without a language, without comments.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut block = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("")) => {
                let command = line.split(" #").next().unwrap().trim();
                if !command.is_empty() {
                    commands.push(command.to_owned());
                }
            }
            _ => {}
        }
    }
    commands
}
