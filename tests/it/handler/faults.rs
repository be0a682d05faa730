//! Whose fault a failure is: the table in docs/reference/actions.md, against targets that misbehave that
//! way.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use super::{Ending, Installation, SOON, once, stop, webhook};
use crate::mail::MailServer;
use crate::receiver::{Receiver, Response};
use crate::redis::RedisServer;

const BRISK: &str = "initialBackoff: 10ms, maxBackoff: 50ms";

#[test]
fn statuses_of_the_target_are_waited_out_and_those_of_the_event_are_dead_letters() {
    let installation = Installation::new(1);
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    // Each misbehaves for more calls than an event has attempts, then recovers.
    let misbehaving = |status: u16| {
        Receiver::start(move |call| Response::Status(if call.attempt <= 12 { status } else { 200 }))
    };
    let targets = [302, 401, 403, 407, 408, 425, 429, 500, 503];
    let events = [400, 404, 405, 409, 410, 413, 422];
    let receivers: Vec<_> = targets
        .iter()
        .chain(&events)
        .map(|&status| (status, misbehaving(status)))
        .collect();
    let actions = receivers
        .iter()
        .map(|(status, receiver)| webhook(&format!("answers-{status}"), &receiver.url()));
    let handler = installation.start(&actions.collect::<String>(), BRISK);
    installation.wait_until_drained();
    let dead: BTreeSet<_> = installation
        .dead_letters()
        .iter()
        .map(|letter| {
            letter
                .header("sundown-dlq-pending-actions")
                .unwrap()
                .to_owned()
        })
        .collect();
    let refused = events.map(|status| format!("answers-{status}"));
    assert_eq!(dead, refused.into_iter().collect());
    for (status, receiver) in &receivers {
        let calls = if targets.contains(status) { 13 } else { 1 };
        assert_eq!(receiver.count(), calls, "{status}");
    }
    stop(handler);
}

#[test]
fn a_target_that_refuses_the_handlers_credentials_gets_all_events_once_it_takes_them() {
    let installation = Installation::new(2);
    let granted = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let granted = Arc::clone(&granted);
        move |_| Response::Status(if granted.load(SeqCst) { 200 } else { 401 })
    });
    let endings: Vec<_> = (0..200)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect();
    installation.write(&endings);
    let handler = installation.start_calling(
        &receiver,
        "attempts: 1, initialBackoff: 10ms, maxBackoff: 50ms",
    );
    handler.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    receiver.wait_for(SOON, 20);
    granted.store(true, SeqCst);
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&endings));
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn an_event_that_alone_is_refused_as_unauthorized_is_given_up_within_its_attempts() {
    let installation = Installation::new(1);
    let poison = Ending::of("poison");
    let receiver = Receiver::start({
        let poison = poison.id.clone();
        move |call| Response::Status(if call.key == poison { 403 } else { 200 })
    });
    let others: Vec<_> = (0..300)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect();
    installation.write(&[std::slice::from_ref(&poison), &others].concat());
    let handler = installation
        .launch(&super::webhook("notify", &receiver.url()), BRISK)
        .args(["--concurrency", "2"])
        .start();
    // Others keep coming while it is tried again.
    let letters = {
        let mut letters = Vec::new();
        while letters.is_empty() {
            installation.write(&[Ending::of("another")]);
            letters = installation.dead_letters();
        }
        letters
    };
    assert_eq!(letters[0].value, Some(poison.bytes));
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("exhausted"));
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters().len(), 1);
    stop(handler);
}

#[test]
fn broken_connections_and_silence_are_waited_out() {
    let installation = Installation::new(1);
    installation.write(&[Ending::of("user")]);
    let silent = Receiver::start(|call| match call.attempt {
        1..=6 => Response::Silence,
        _ => Response::Status(200),
    });
    let broken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", broken.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in broken.incoming().map_while(Result::ok).enumerate() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let response: &[u8] = match number {
                0..=5 => b"",
                6..=11 => b"not HTTP\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            };
            let _ = stream.write_all(response);
        }
    });
    let silence = webhook("silent", &silent.url()).replace("timeout: 2s", "timeout: 100ms");
    let handler = installation.start(&(silence + &webhook("broken", &url)), BRISK);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn a_redis_that_has_become_a_replica_is_waited_for() {
    let installation = Installation::new(1);
    let server = RedisServer::start(&[]);
    let ending = Ending::of("user");
    server.set(format!("sess:{}", ending.session));
    server.demote();
    installation.write(std::slice::from_ref(&ending));
    let action = format!(
        "  - {{name: store, type: redis, servers: ['{}'], keys: ['sess:{{{{ session_id }}}}']}}\n",
        server.url()
    );
    let handler = installation.start(&action, &format!("attempts: 1, {BRISK}"));
    handler.wait_for_line(SOON, |line| {
        line.text.contains("circuit open") && line.text.contains("read only replica")
    });
    assert_eq!(installation.dead_letters(), []);
    server.promote();
    server.wait_for_keys(&[]);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn an_address_that_the_mail_server_cannot_take_is_that_events_own_dead_letter() {
    let installation = Installation::new(1);
    let server = MailServer::start(None, |_| "250 ok");
    let others: Vec<_> = (0..60)
        .map(|user| Ending::of(&format!("user{user}")))
        .collect();
    let umlaut = Ending::of("jörg");
    installation.write(&[std::slice::from_ref(&umlaut), &others].concat());
    let mail = format!(
        "  - {{name: mail, type: smtp, server: 'localhost:{}', tls: none, \
         from: 'noreply@example.com', to: '{{{{ user_id }}}}@example.com', \
         subject: over, body: over}}\n",
        server.port()
    );
    let handler = installation.start(&mail, "initialBackoff: 1h, maxBackoff: 1h");
    server.wait_for(SOON, others.len());
    let letters = installation.wait_for_dead_letters(1);
    installation.wait_until_drained();
    assert_eq!(server.mails().len(), others.len());
    assert_eq!(letters[0].value, Some(umlaut.bytes));
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("refused"));
    assert_eq!(letters[0].header("sundown-dlq-attempts"), Some("1"));
    stop(handler);
}

#[test]
fn an_event_that_cannot_be_rendered_is_a_dead_letter_although_the_target_is_down() {
    let installation = Installation::new(1);
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", place.local_addr().unwrap());
    drop(place);
    let action =
        webhook("notify", &url).replace("timeout", "body: '{{ attributes.none }}', timeout");
    installation.write(&[Ending::of("user")]);
    let handler = installation.start(&action, "");
    let letters = installation.wait_for_dead_letters(1);
    let error = letters[0].header("sundown-dlq-error").unwrap();
    assert!(error.contains("attributes.none"), "{error}");
    installation.wait_until_drained();
    stop(handler);
}
