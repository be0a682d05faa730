//! Sources with schemas, on a real Apicurio Registry.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::start_ingest;
use crate::console::client::Client;
use crate::redis::free_port;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::{Launch, Process, Stream};
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// Fetching and starting a registry on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// Confluent's API.
const API: &str = "/apis/ccompat/v7";

/// A registry in memory, at an address that it keeps.
pub(super) struct Registry {
    port: u16,
    process: Option<Process>,
}

impl Registry {
    /// Not started.
    pub(super) fn new() -> Self {
        Self {
            port: free_port(),
            process: None,
        }
    }

    /// Starts with no schemas.
    pub(super) fn start(&mut self) {
        let launch = Launch::program("tests/third-party/apicurio").arg(self.port.to_string());
        self.process = Some(launch.start());
        eventually(START_TIMEOUT, "the registry", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            let answer = Client::new(self.port).get(&format!("{API}/subjects"));
            (answer.status == 200).then_some(())
        });
    }

    fn kill(&mut self) {
        let mut process = self.process.take().expect("it has been started");
        process.sigkill();
        process.wait(SOON);
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{API}", self.port)
    }

    /// Registers a version of a subject and returns the id of its schema.
    fn register(&self, subject: &str, schema: &Value) -> u64 {
        let path = format!("{API}/subjects/{subject}/versions");
        let kind = [("content-type", "application/vnd.schemaregistry.v1+json")];
        let answer = Client::new(self.port).send("POST", &path, &kind, &schema.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        answer["id"].as_u64().expect("an id")
    }

    /// Registers the first `count` versions of the clicks, whose ids are their numbers.
    pub(super) fn register_clicks(&self, count: usize) {
        let fields = ["session", "user", "tenant", "client"];
        for version in 1..=count {
            let fields: Vec<_> = fields[..=version]
                .iter()
                .map(|name| json!({"name": name, "type": "string", "default": ""}))
                .collect();
            let schema = json!({"type": "record", "name": "Click", "fields": fields});
            let id = self.register("clicks-value", &json!({"schema": schema.to_string()}));
            assert_eq!(usize::try_from(id), Ok(version));
        }
    }
}

/// Confluent's frame around Avro strings.
pub(super) fn avro(id: u8, texts: &[&str]) -> Vec<u8> {
    let mut value = vec![0, 0, 0, 0, id];
    for text in texts {
        value.push(u8::try_from(text.len() * 2).expect("a short text"));
        value.extend(text.as_bytes());
    }
    value
}

pub(super) fn source(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".yaml").expect("a file");
    file.write_all(text.as_bytes()).expect("it is written");
    file
}

fn write(installation: &Installation<'_>, topic: &str, values: impl IntoIterator<Item = Vec<u8>>) {
    let records = (0..).zip(values).map(|(number, value)| NewRecord {
        partition: Some(number % 3),
        value: Some(value),
        ..NewRecord::default()
    });
    installation.kafka.produce(topic, records);
}

/// Waits for the events, and returns each session with its tenant, sorted.
fn events(installation: &Installation<'_>, count: usize) -> Vec<(String, Option<String>)> {
    let mut events = eventually(SOON, &format!("{count} events"), || {
        let records = installation.read("session_logs");
        (records.len() >= count).then_some(records)
    });
    assert_eq!(events.len(), count, "{events:?}");
    events.sort_by_key(|event| event.json()["session_id"].as_str().map(str::to_owned));
    let events = events.iter().map(|event| {
        let event = event.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let session = text(&event["session_id"]).expect("a session");
        (session, text(&event["attributes"]["tenant"]))
    });
    events.collect()
}

#[test]
fn a_registry_that_is_down_loses_no_record() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let mut registry = Registry::new();
    let topic = installation.topic("clicks");
    installation.kafka.create_topic(&topic, 3, &[]);
    let file = source(&format!(
        "apiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: clicks}}\nspec:\n  topics: [{topic}]\n  format: avro\n  schemaRegistry: {{url: \"{}\"}}\n  session:\n    id: value.session\n    user: value.user\n    attributes: {{tenant: value.tenant}}\n",
        registry.url()
    ));
    let path = file.path().to_str().expect("UTF-8");
    let condition = format!("ingest of {topic}");
    let clicks = |version: u8, sessions: std::ops::Range<u8>| {
        let clicks = sessions.map(|session| {
            let texts = [&*format!("s{session:02}"), "ann", "acme", "web"];
            avro(version, &texts[..=usize::from(version)])
        });
        write(&installation, &topic, clicks);
    };

    clicks(1, 0..6);
    let ingest = start_ingest(&installation, &["--sources", path]);
    ingest.await_unready(&condition, "does not answer");
    assert!(installation.read("session_logs").is_empty());
    registry.start();
    registry.register_clicks(1);
    let expected = (0..6).map(|number| (format!("s{number:02}"), None));
    assert!(events(&installation, 6).into_iter().eq(expected));
    ingest.await_ready();

    // A new version in the middle of the topic, while other records have the one before.
    registry.register_clicks(2);
    clicks(2, 6..9);
    clicks(1, 9..12);
    let tenants: Vec<_> = events(&installation, 12)
        .into_iter()
        .map(|(_, tenant)| tenant)
        .collect();
    let acme = Some("acme".to_owned());
    assert_eq!(tenants[6..9], [acme.clone(), acme.clone(), acme]);
    assert_eq!(tenants[9..], [None, None, None]);

    // Known schemas need no registry. A record of an unknown one holds up its partition only.
    registry.kill();
    write(
        &installation,
        &topic,
        [avro(3, &["s12", "ann", "acme", "web"])],
    );
    ingest.await_unready(&condition, "1 of the assigned partitions");
    clicks(2, 13..16);
    let found = events(&installation, 14);
    assert!(
        !found
            .iter()
            .any(|(session, _)| ["s12", "s13"].contains(&session.as_str()))
    );

    // Neither a crash nor a stop commits an offset past it.
    ingest.kill();
    let ingest = start_ingest(&installation, &["--sources", path]);
    ingest.await_unready(&condition, "does not answer");
    ingest.stop();
    let ingest = start_ingest(&installation, &["--sources", path]);
    ingest.await_unready(&condition, "does not answer");
    registry.start();
    registry.register_clicks(3);
    events(&installation, 16);
    ingest.await_ready();
    assert!(installation.read("session_logs.dlq").is_empty());

    // The registry answers that there is no such schema.
    write(&installation, &topic, [avro(99, &["s16", "ann"])]);
    let error = dead_letter(&installation);
    assert!(error.contains("schemas/ids/99"), "{error}");
    clicks(1, 17..20);
    events(&installation, 19);
    ingest.stop();
}

/// Waits for a dead letter, and returns its error.
fn dead_letter(installation: &Installation<'_>) -> String {
    let letters = eventually(SOON, "a dead letter", || {
        let letters = installation.read("session_logs.dlq");
        (!letters.is_empty()).then_some(letters)
    });
    let error = letters[0].header("sundown-dlq-error").expect("an error");
    error.to_owned()
}

#[test]
fn protobuf_and_json_schemas_are_read_by_their_ids() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let mut registry = Registry::new();
    registry.start();
    let user = "syntax = \"proto3\"; package shop; message User { uint64 id = 1; }";
    registry.register("user", &json!({"schemaType": "PROTOBUF", "schema": user}));
    let click = "syntax = \"proto3\"; package shop; import \"user.proto\"; message Other {} message Click { string session = 1; User user = 2; }";
    let references = json!([{"name": "user.proto", "subject": "user", "version": 1}]);
    let click = json!({"schemaType": "PROTOBUF", "schema": click, "references": references});
    let id = registry.register("clicks-value", &click);
    let id = u8::try_from(id).expect("a small id");
    let (clicks, pages) = (installation.topic("clicks"), installation.topic("pages"));
    installation.kafka.create_topic(&clicks, 3, &[]);
    installation.kafka.create_topic(&pages, 3, &[]);
    let protobuf = source(&format!(
        "apiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: clicks}}\nspec:\n  topics: [{clicks}]\n  format: protobuf\n  schemaRegistry: {{url: \"{}\"}}\n  session: {{id: value.session, user: value.user.id}}\n",
        registry.url()
    ));
    let json = source(&format!(
        "apiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: pages}}\nspec:\n  topics: [{pages}]\n  format: jsonSchema\n  session: {{id: value.session, user: value.user}}\n",
    ));
    let message = [&[0, 0, 0, 0, id, 2, 2][..], b"\x0a\x02s1\x12\x02\x08\x2a"].concat();
    write(&installation, &clicks, [message]);
    let page = [&[0, 0, 0, 0, 9][..], br#"{"session": "s2", "user": "ann"}"#].concat();
    write(&installation, &pages, [page]);

    let path = protobuf.path().to_str().expect("UTF-8");
    let mut test = installation
        .sundown(&["source", "test", "-f", path, "--topic", &clicks])
        .start();
    assert!(test.wait(SOON).success(), "{}", test.text(Stream::Stderr));
    let table = test.text(Stream::Stdout);
    for field in [r#""session_id":"s1""#, r#""user_id":42"#] {
        assert!(table.contains(field), "{table}");
    }

    let ingest = start_ingest(&installation, &[]);
    for file in [&protobuf, &json] {
        installation.run(&[
            "source",
            "apply",
            "-f",
            file.path().to_str().expect("UTF-8"),
        ]);
    }
    let found = events(&installation, 2);
    assert_eq!(found, [("s1".to_owned(), None), ("s2".to_owned(), None)]);
    ingest.stop();
}
