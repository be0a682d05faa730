//! The receivers of `examples/receivers`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sundown::clock::Clock;

use super::{Ending, Installation, SECRET, SOON, stop, webhook};
use crate::examples::{compiled_go, is_installed};
use crate::support::process::{Launch, Process, Stream};

const LISTENING: &str = "listening on ";

fn receivers(folder: &Path) -> Vec<(&'static str, Launch)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/receivers");
    let mut receivers = Vec::new();
    if let Some(go) = compiled_go("receivers/go", "main.go", &folder.join("receiver")) {
        receivers.push(("go", go));
    }
    for (program, source) in [
        ("node", "node/receiver.js"),
        ("python3", "python/receiver.py"),
    ] {
        if is_installed(program, "--version") {
            receivers.push((program, Launch::program(program).arg(root.join(source))));
        }
    }
    receivers
}

/// Posts a call with a signature of this secret, made this long ago, and returns the status.
fn post(url: &str, id: &str, secret: &str, seconds_ago: i64) -> u16 {
    let body = r#"{"session_id":"by hand","reason":"logout"}"#;
    let timestamp = Clock::default().wall().as_millis() / 1000 - seconds_ago;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: receiver\r\nconnection: close\r\ncontent-length: {length}\r\n\
         webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\n\
         webhook-signature: v1,b2xk v1,{signature}\r\n\r\n{body}"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap();
    status.parse().unwrap()
}

fn processed(receiver: &Process, session: &str) -> usize {
    let output = receiver.text(Stream::Stdout);
    let line = format!("ended {session}: ");
    output
        .lines()
        .filter(|text| text.starts_with(&line))
        .count()
}

#[test]
fn receivers_accept_calls_of_the_handler_once_and_reject_others() {
    let folder = tempfile::tempdir().unwrap();
    for (language, launch) in receivers(folder.path()) {
        let receiver = launch.arg("0").env("WEBHOOK_SECRET", SECRET).start();
        let line = receiver.wait_for_line(SOON, |line| line.text.starts_with(LISTENING));
        let url = &line.text[LISTENING.len()..];

        let installation = Installation::new(1);
        let ending = Ending::of("user");
        installation.write(std::slice::from_ref(&ending));
        let handler = installation.start(&webhook("notify", url), "");
        let line = format!("ended {}: idle_timeout", ending.session);
        receiver.wait_for_line(SOON, |found| found.text == line);
        installation.wait_until_drained();
        stop(handler);
        assert_eq!(installation.dead_letters().len(), 0, "{language}");

        assert_eq!(post(url, "a", "another secret", 0), 401, "{language}");
        assert_eq!(post(url, "a", SECRET, 600), 401, "{language}");
        assert_eq!(post(url, "a", SECRET, -600), 401, "{language}");
        assert_eq!(processed(&receiver, "by hand"), 0, "{language}");
        assert_eq!(post(url, "a", SECRET, 0), 204, "{language}");
        receiver.wait_for_line(SOON, |line| line.text.starts_with("ended by hand: "));
        assert_eq!(post(url, "a", SECRET, 0), 204, "{language}");
        assert_eq!(processed(&receiver, "by hand"), 1, "{language}");
    }
}
