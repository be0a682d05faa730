//! `POST /v1/events` with TLS, from curl.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::start_ingest;
use crate::redis::free_port;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::wait::eventually;
use crate::tls::Identity;

const SECRET: &str = "0123456789abcdef";

/// The status of the response; `None` without one.
fn post(url: &str, trusted: &Path, session: &str) -> Option<String> {
    let body = format!(r#"{{"session_id": "{session}", "user_id": "ann"}}"#);
    let output = Command::new("curl")
        .args(["--silent", "--write-out", "%{http_code}", "--output"])
        .args(["/dev/null", "--cacert"])
        .arg(trusted)
        .args(["--header", &format!("authorization: Bearer {SECRET}")])
        .args(["--header", "content-type: application/json"])
        .args(["--data", &body, url])
        .output();
    let output = output.expect("curl is installed");
    let status = String::from_utf8(output.stdout).expect("a status");
    output.status.success().then_some(status)
}

#[test]
fn events_are_taken_over_https_and_a_renewed_certificate_is_used() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).to_str().expect("UTF-8").to_owned();
    let install = |identity: &Identity| {
        fs::copy(identity.certificate(), path("tls.crt")).expect("a copy");
        fs::copy(identity.key(), path("tls.key")).expect("a copy");
    };
    let (first, second) = (Identity::new(), Identity::new());
    install(&first);
    fs::create_dir(path("tokens")).expect("a folder");
    fs::write(path("tokens/app"), SECRET).expect("a token");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let ingest = start_ingest(
        &installation,
        &[
            "--http-listen",
            &listen,
            "--http-tokens",
            &text("tokens"),
            "--http-tls-cert",
            &text("tls.crt"),
            "--http-tls-key",
            &text("tls.key"),
        ],
    );
    ingest.await_ready();
    let url = format!("https://localhost:{port}/v1/events");
    let accepted = Some("202".to_owned());
    assert_eq!(post(&url, &first.certificate(), "a"), accepted);
    assert_eq!(post(&url, &second.certificate(), "b"), None);
    let plain = url.replace("https", "http");
    assert_ne!(post(&plain, &first.certificate(), "c"), accepted);

    // While one of the files is replaced, the previous certificate stays.
    fs::copy(second.certificate(), path("tls.crt")).expect("a copy");
    eventually(SOON, "a handshake with the previous certificate", || {
        assert_eq!(post(&url, &first.certificate(), "d"), accepted);
        let log = ingest.log();
        log.contains("keeping the previous certificate")
            .then_some(())
    });
    install(&second);
    eventually(SOON, "the renewed certificate", || {
        (post(&url, &second.certificate(), "e") == accepted).then_some(())
    });
    let sessions: BTreeSet<_> = installation
        .read("session_logs")
        .iter()
        .map(|record| record.json()["session_id"].to_string())
        .collect();
    assert_eq!(sessions.len(), 3, "{sessions:?}");
    ingest.stop();
}
