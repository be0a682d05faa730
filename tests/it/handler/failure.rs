//! Failures of actions, and their consequences.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread;

use super::{Ending, Installation, SOON, once, stop, webhook};
use crate::receiver::{Receiver, Response};
use crate::support::kafka::Kafka;
use crate::support::process::{Process, Stream};
use crate::support::topic::{NewRecord, Record};
use crate::support::wait::eventually;
use crate::tls::Identity;

/// The headers that the handler has added, without those that hold a time.
fn verdict(letter: &Record) -> Vec<(&str, &str)> {
    let headers = letter.headers.iter();
    let own = headers.filter(|(name, _)| name.starts_with("sundown-dlq-"));
    own.map(|(name, value)| (name.as_str(), str::from_utf8(value).unwrap()))
        .filter(|(name, _)| *name != "sundown-dlq-source-timestamp")
        .collect()
}

#[test]
fn a_receiver_that_recovers_gets_the_event_again_under_the_same_key() {
    let installation = Installation::new(1);
    let receiver =
        Receiver::start(|call| Response::Status(if call.attempt <= 3 { 503 } else { 200 }));
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let handler = installation.start_calling(&receiver, "initialBackoff: 10ms");

    let calls = receiver.wait_for(SOON, 4);
    installation.wait_until_drained();
    assert!(
        calls
            .iter()
            .all(|call| call.key == ending.id && call.body == ending.bytes)
    );
    assert_eq!(receiver.calls().len(), 4);
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn a_refused_event_is_dead_lettered_at_once_with_its_bytes_and_its_reasons() {
    let installation = Installation::new(1);
    let refusing = Receiver::start(|_| Response::Status(410));
    let accepting = Receiver::start(|_| Response::Status(200));
    let ending = Ending::of("user");
    let source = NewRecord {
        headers: vec![("ce_id".into(), ending.id.clone().into())],
        ..ending.record()
    };
    installation.kafka.produce(&installation.topic(), [source]);
    let actions = [
        webhook("accepting", &accepting.url()),
        webhook("refusing", &refusing.url()),
        "  - {name: audit, type: log}\n".to_owned(),
        webhook("refusing-too", &refusing.url()),
    ];
    let handler = installation.start(&actions.concat(), "");

    let mut letters = installation.wait_for_dead_letters(2);
    installation.wait_until_drained();
    letters.sort_by_key(|letter| {
        letter
            .header("sundown-dlq-pending-actions")
            .map(str::to_owned)
    });
    for (letter, action) in letters.iter().zip(["refusing", "refusing-too"]) {
        assert_eq!(letter.key, Some(ending.session.clone().into_bytes()));
        assert_eq!(letter.value, Some(ending.bytes.clone()));
        assert_eq!(letter.header("ce_id"), Some(ending.id.as_str()));
        assert_eq!(
            verdict(letter),
            [
                ("sundown-dlq-reason", "refused"),
                (
                    "sundown-dlq-error",
                    format!("{action}: the receiver responded 410 Gone").as_str()
                ),
                ("sundown-dlq-source-topic", installation.topic().as_str()),
                ("sundown-dlq-source-partition", "0"),
                ("sundown-dlq-source-offset", "0"),
                ("sundown-dlq-attempts", "1"),
                ("sundown-dlq-pending-actions", action),
            ]
        );
        let written = letter.header("sundown-dlq-source-timestamp");
        assert!(written.unwrap().ends_with('Z'));
    }
    assert_eq!(refusing.calls().len(), 2, "one attempt of each");
    assert_eq!(accepting.calls().len(), 1);
    stop(handler);
}

#[test]
fn used_up_attempts_dead_letter_the_event_and_only_pending_actions_are_repeated() {
    let installation = Installation::new(1);
    let busy = Receiver::start(|_| Response::Status(429));
    let accepting = Receiver::start(|_| Response::Status(200));
    installation.write(&[Ending::of("user")]);
    let actions = webhook("busy", &busy.url()) + &webhook("accepting", &accepting.url());
    let handler = installation.start(&actions, "attempts: 3, initialBackoff: 10ms");

    let letters = installation.wait_for_dead_letters(1);
    installation.wait_until_drained();
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("exhausted"));
    assert_eq!(letters[0].header("sundown-dlq-attempts"), Some("3"));
    assert_eq!(
        letters[0].header("sundown-dlq-pending-actions"),
        Some("busy")
    );
    assert_eq!((busy.calls().len(), accepting.calls().len()), (3, 1));
    stop(handler);
}

#[test]
fn what_is_no_terminal_event_is_dead_lettered_and_nothing_else_suffers() {
    let installation = Installation::new(1);
    let receiver = Receiver::start(|_| Response::Status(200));
    let ending = Ending::of("user");
    let bad: [Option<&[u8]>; 5] = [
        None,
        Some(b""),
        Some(b"\xff\xfe not UTF-8"),
        Some(br#"{"event_id":"not a UUID"}"#),
        Some(br#"{"session_id":"s"}"#),
    ];
    let mut records = bad.map(|value| NewRecord {
        key: Some(b"\xffkey".to_vec()),
        value: value.map(<[u8]>::to_vec),
        ..NewRecord::default()
    });
    let topic = installation.topic();
    installation
        .kafka
        .produce(&topic, std::mem::take(&mut records));
    installation.kafka.produce(&topic, [ending.record()]);
    let handler = installation.start_calling(&receiver, "");

    let letters = installation.wait_for_dead_letters(bad.len());
    receiver.wait_for(SOON, 1);
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&[ending]));
    let values: Vec<_> = letters
        .iter()
        .map(|letter| letter.value.as_deref())
        .collect();
    assert_eq!(values, bad);
    for letter in &letters {
        assert_eq!(letter.key.as_deref(), Some(b"\xffkey".as_slice()));
        assert_eq!(letter.header("sundown-dlq-reason"), Some("malformed"));
        assert_eq!(letter.header("sundown-dlq-attempts"), Some("0"));
        assert_eq!(letter.header("sundown-dlq-pending-actions"), Some("notify"));
    }
    stop(handler);
}

#[test]
fn an_unreachable_receiver_is_waited_for_and_said_to_be() {
    let installation = Installation::new(1);
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let actions = webhook("notify", &format!("http://{address}/hook"));
    // One attempt, and hardly any time: neither counts while the target is down.
    let retry = "attempts: 1, total: 1ms, initialBackoff: 1ms, maxBackoff: 20ms";
    let handler = installation.start(&actions, retry);
    let admin = admin_address(&handler);
    let waiting = eventually(SOON, "a note on the action", || {
        Some(probe(admin, "/readyz")).filter(|answer| answer.contains("action notify"))
    });
    assert!(waiting.starts_with("HTTP/1.1 200"), "{waiting}");
    let metrics = probe(admin, "/metrics");
    let gauge = r#"sundown_handler_circuit_open{action="notify"} 1"#;
    assert!(metrics.contains(gauge), "{metrics}");

    let receiver = Receiver::start_at(address, |_| Response::Status(200));
    receiver.wait_for(SOON, 1);
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&[ending]));
    assert_eq!(installation.dead_letters(), []);
    let ready = probe(admin, "/readyz");
    assert!(!ready.contains("action notify"), "{ready}");
    stop(handler);
}

#[test]
fn a_receiver_with_an_untrusted_certificate_gets_nothing() {
    let installation = Installation::new(1);
    let (sender, hearing) = mpsc::channel();
    let (identity, place) = (Identity::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = place.local_addr().unwrap();
    let config = identity.server();
    thread::spawn(move || {
        for mut stream in place.incoming().map_while(Result::ok) {
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut first = [0];
            let mut stream = rustls::Stream::new(&mut connection, &mut stream);
            // Fails where the client hangs up.
            let _ = sender.send(stream.read_exact(&mut first).is_ok());
        }
    });
    installation.write(&[Ending::of("user")]);
    let url = format!("https://localhost:{}/hook", address.port());
    let untrusting = installation.start(&webhook("notify", &url), "attempts: 1");
    untrusting.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    assert!(!hearing.recv_timeout(SOON).unwrap(), "it received data");
    assert_eq!(installation.dead_letters(), []);
    stop(untrusting);

    // The same with its certificate: what it then hears is the call.
    while hearing.try_recv().is_ok() {}
    let trusting = format!("caFile: {}, timeout", identity.certificate().display());
    let action = webhook("notify", &url).replace("timeout", &trusting);
    let trusting = installation.start(&action, "");
    assert!(hearing.recv_timeout(SOON).unwrap());
    stop(trusting);
}

#[test]
fn a_handler_stops_in_time_whatever_its_receiver_does() {
    let installation = Installation::new(1);
    let receiver = Receiver::start(|call| match call.attempt {
        1 => Response::Status(503),
        _ => Response::Silence,
    });
    installation.write(&[Ending::of("a"), Ending::of("b")]);
    let patient = webhook("notify", &receiver.url()).replace("timeout: 2s", "timeout: 1h");
    let handler = installation.start(&patient, "initialBackoff: 1ms");
    receiver.wait_for(SOON, 3);
    stop(handler);
}

#[test]
fn a_handler_stops_in_time_though_the_brokers_no_longer_answer() {
    let kafka = Kafka::own(1);
    let installation = Installation::on(&kafka, 1);
    let receiver = Receiver::start(|_| Response::Status(200));
    installation.write(&[Ending::of("user")]);
    let handler = installation.start_calling(&receiver, "");
    receiver.wait_for(SOON, 1);
    kafka.stop(1);
    stop(handler);
    kafka.cont(1);
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_not_dropped() {
    let installation = Installation::new(1);
    let receiver = Receiver::start(|_| Response::Status(400));
    let topic = installation.dead_letter_topic();
    installation
        .kafka
        .alter_topic(&topic, "max.message.bytes", "100");
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let handler = installation.start_calling(&receiver, "");
    let admin = admin_address(&handler);
    let waiting = eventually(SOON, "a reason not to be ready", || {
        Some(probe(admin, "/readyz")).filter(|answer| answer.contains("dead letters"))
    });
    assert!(waiting.contains("max.message.bytes"), "{waiting}");
    assert_eq!(installation.committed(), None);

    installation
        .kafka
        .alter_topic(&topic, "max.message.bytes", "100000");
    let letters = installation.wait_for_dead_letters(1);
    installation.wait_until_drained();
    assert_eq!(letters[0].value, Some(ending.bytes));
    assert!(probe(admin, "/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(receiver.calls().len(), 1, "the action is not done again");
    stop(handler);
}

#[test]
fn an_actions_file_that_cannot_be_used_keeps_the_handler_from_starting() {
    let installation = Installation::new(1);
    let mut handler = installation.start("  - {name: a, type: log, color: red}\n", "");
    assert_eq!(handler.wait(SOON).code(), Some(1));
    let said = handler.text(Stream::Stderr);
    assert!(
        said.contains("actions.yaml") && said.contains("color"),
        "{said}"
    );
}

pub(super) fn admin_address(handler: &Process) -> SocketAddr {
    let line = handler.wait_for_line(SOON, |line| line.text.contains("\"admin\""));
    let line: serde_json::Value = serde_json::from_str(&line.text).unwrap();
    line["admin"].as_str().unwrap().parse().unwrap()
}

pub(super) fn probe(admin: SocketAddr, path: &str) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
