//! A real Prometheus, which scrapes the processes of a test and evaluates the project's rules.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Launch, Process, Stream};
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

const ALERTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/charts/sundown/files/alerts.yaml"
);
/// Between two scrapes, and two evaluations.
const INTERVAL: &str = "1s";
/// Replaces the minutes of `for` in alert rules: longer than processes take to bring their
/// metrics up to date.
const PENDING_DURATION: &str = "5s";

/// A Prometheus of a test's own. It ends when dropped.
pub struct Prometheus {
    address: String,
    /// By pod, where it is and its labels.
    targets: Mutex<BTreeMap<String, Value>>,
    folder: TempDir,
    _process: Process,
}

/// One of the series that a query gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Prometheus {
    /// Starts one whose rules are those of the chart, but less patient.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        write(&file("rules.yaml"), &impatient(alert_rules()));
        write(&file("targets.json"), &json!([]));
        let config = json!({
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{
                "job_name": "sundown",
                "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}],
            }],
        });
        write(&file("prometheus.yaml"), &config);
        let process = Launch::program(&installed("prometheus"))
            .arg(format!(
                "--config.file={}",
                file("prometheus.yaml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .start();
        let line = process.wait_for_line(Duration::from_secs(60), |line| {
            line.stream == Stream::Stderr && line.text.contains("msg=\"Listening on\"")
        });
        let (_, address) = line.text.split_once("address=").expect("an address");
        let prometheus = Self {
            address: address.trim().to_owned(),
            targets: Mutex::default(),
            folder,
            _process: process,
        };
        eventually(
            Duration::from_secs(60),
            "a Prometheus that is ready",
            || prometheus.try_query("vector(1)"),
        );
        prometheus
    }

    /// Scrapes processes from now on, with the labels that they would have as pods of these
    /// names. A process that had a name before is scraped no more.
    pub fn scrape(&self, namespace: &str, pods: &[(&str, &RoleProcess)]) {
        let mut targets = self.targets.lock().expect("targets");
        for (pod, process) in pods {
            let target = json!({
                "targets": [process.admin()],
                "labels": {
                    "namespace": namespace,
                    "pod": pod,
                    "container": "sundown",
                    "job": format!("{namespace}/sundown"),
                    "instance": format!("{namespace}/{pod}"),
                },
            });
            targets.insert(format!("{namespace}/{pod}"), target);
        }
        // Moved into place: Prometheus must not read half of it.
        let file = self.folder.path().join("targets.json");
        let half = self.folder.path().join("targets.json.new");
        write(&half, &targets.values().cloned().collect());
        fs::rename(half, file).expect("the file is moved");
    }

    /// What an expression gives now.
    ///
    /// # Panics
    /// If Prometheus cannot evaluate it.
    pub fn query(&self, expression: &str) -> Vec<Sample> {
        let query = form_urlencoded::byte_serialize(expression.as_bytes());
        let path = format!("/api/v1/query?query={}", query.collect::<String>());
        let answer = self.get(&path).expect("an answer");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = &answer["data"]["result"];
        result
            .as_array()
            .expect("a vector")
            .iter()
            .map(sample)
            .collect()
    }

    fn try_query(&self, expression: &str) -> Option<()> {
        let answer = self.get(&format!("/api/v1/query?query={expression}"))?;
        (answer["status"] == "success").then_some(())
    }

    /// HTTP 1.0, to which no server answers in chunks.
    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}

/// The rules of the chart.
pub fn alert_rules() -> Value {
    let text = fs::read_to_string(ALERTS).expect("the rules");
    serde_yaml::from_str(&text).expect("YAML")
}

/// Each rule of the file.
pub fn each_rule(rules: &Value) -> impl Iterator<Item = &Value> {
    let groups = rules["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules"))
}

/// The path of a program of Debian's package `prometheus`.
pub fn installed(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let found = folders.find(|folder| folder.join(program).exists());
    let folder: PathBuf =
        found.unwrap_or_else(|| panic!("{program} is not installed; apt-get install prometheus"));
    folder.join(program).display().to_string()
}

fn impatient(mut rules: Value) -> Value {
    let groups = rules["groups"].as_array_mut().expect("groups");
    for group in groups {
        for rule in group["rules"].as_array_mut().expect("rules") {
            if let Some(duration) = rule.get_mut("for") {
                *duration = json!(PENDING_DURATION);
            }
        }
    }
    rules
}

fn sample(series: &Value) -> Sample {
    let labels = series["metric"].as_object().expect("labels").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    Sample {
        labels: labels
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        value: text(&series["value"][1]).parse().expect("a number"),
    }
}

/// JSON is YAML too.
fn write(path: &Path, content: &Value) {
    fs::write(path, content.to_string()).expect("the file is written");
}
