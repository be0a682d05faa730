//! Mails to users.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::{Ending, Installation, SOON, stop};
use crate::mail::MailServer;
use crate::tls::Identity;

fn smtp(server: &MailServer, more: &str) -> String {
    format!(
        "  - name: mail\n    type: smtp\n    server: localhost:{}\n    \
         from: 'Sundown <noreply@example.com>'\n    to: '{{{{ user_id }}}}@example.com'\n    \
         subject: 'Session at {{{{ attributes.tenant }}}} over'\n    \
         body: 'It ended because of {{{{ reason }}}}.'\n    {more}\n",
        server.port()
    )
}

#[test]
fn a_mail_travels_encrypted_and_names_the_event() {
    let installation = Installation::new(1);
    let identity = Identity::new();
    let server = MailServer::start(Some(identity.server()), |_| "250 ok");
    let ending = Ending::of("known");
    installation.write(std::slice::from_ref(&ending));
    let trusting = format!("caFile: {}", identity.certificate().display());
    let handler = installation.start(&smtp(&server, &trusting), "");
    let mails = server.wait_for(SOON, 1);
    installation.wait_until_drained();
    assert!(mails[0].encrypted);
    assert!(mails[0].to.contains("<known@example.com>"), "{mails:?}");
    let text = &mails[0].text;
    let id = format!("Message-ID: <{}@example.com>", ending.id);
    assert!(text.contains(&id), "{text}");
    assert!(text.contains("It ended because of idle_timeout."), "{text}");
    assert!(text.contains("Subject: Session at"), "{text}");
    stop(handler);
}

#[test]
fn a_server_without_encryption_gets_nothing_and_keeps_events_waiting() {
    let installation = Installation::new(1);
    let server = MailServer::start(None, |_| "250 ok");
    installation.write(&[Ending::of("known")]);
    let handler = installation.start(&smtp(&server, ""), "attempts: 1");
    handler.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    assert!(server.mails().is_empty());
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn a_recipient_who_is_refused_is_a_dead_letter_and_a_busy_one_is_not() {
    let installation = Installation::new(1);
    let times = std::sync::atomic::AtomicUsize::new(0);
    let server = MailServer::start(None, move |to| {
        if to.contains("unknown") {
            "550 no such user"
        } else if times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            "450 greylisted"
        } else {
            "250 ok"
        }
    });
    installation.write(&[Ending::of("unknown"), Ending::of("known")]);
    let handler = installation.start(&smtp(&server, "tls: none"), "initialBackoff: 10ms");
    let letters = installation.wait_for_dead_letters(1);
    let mails = server.wait_for(SOON, 1);
    installation.wait_until_drained();
    assert!(mails[0].to.contains("known"), "{mails:?}");
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("refused"));
    let error = letters[0].header("sundown-dlq-error").unwrap();
    assert!(error.contains("no such user"), "{error}");
    stop(handler);
}

#[test]
fn an_address_that_the_server_cannot_take_costs_its_own_event_alone() {
    let installation = Installation::new(1);
    let server = MailServer::start(None, |_| "250 ok");
    let others: Vec<_> = (0..20)
        .map(|user| Ending::of(&format!("user{user}")))
        .collect();
    installation.write(&[Ending::of("jörg")]);
    installation.write(&others);
    let handler = installation.start(&smtp(&server, "tls: none"), "");
    let letters = installation.wait_for_dead_letters(1);
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("refused"));
    let error = letters[0].header("sundown-dlq-error").unwrap();
    assert!(error.contains("SMTPUTF8"), "{error}");
    installation.wait_until_drained();
    assert_eq!(server.mails().len(), others.len());
    assert_eq!(installation.dead_letters().len(), 1);
    stop(handler);
}

#[test]
fn a_server_that_refuses_connections_is_waited_for() {
    let installation = Installation::new(1);
    let refuses = Arc::new(AtomicBool::new(true));
    let server = MailServer::start_greeting({
        let refuses = Arc::clone(&refuses);
        move || {
            if refuses.load(SeqCst) {
                "554 no service for this host"
            } else {
                "220 sink"
            }
        }
    });
    installation.write(&[Ending::of("known")]);
    let retry = "attempts: 1, initialBackoff: 10ms, maxBackoff: 50ms";
    let handler = installation.start(&smtp(&server, "tls: none"), retry);
    handler.wait_for_line(SOON, |line| {
        line.text.contains("circuit open") && line.text.contains("no service for this host")
    });
    assert_eq!(installation.dead_letters(), []);
    refuses.store(false, SeqCst);
    server.wait_for(SOON, 1);
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn unknown_hosts_and_untrusted_certificates_open_the_circuit_at_once() {
    let installation = Installation::new(1);
    let identity = Identity::new();
    let server = MailServer::start(Some(identity.server()), |_| "250 ok");
    let untrusted = smtp(&server, "tls: starttls");
    let place = format!("server: localhost:{}", server.port());
    let unknown = untrusted
        .replace("name: mail", "name: unknown")
        .replace(&place, "server: nowhere.invalid:25");
    installation.write(&[Ending::of("known")]);
    let handler = installation.start(&(untrusted + &unknown), "attempts: 1");
    for action in [r#""mail""#, r#""unknown""#] {
        handler.wait_for_line(SOON, |line| {
            line.text.contains("circuit open") && line.text.contains(action)
        });
    }
    assert_eq!(installation.dead_letters(), []);
    assert!(server.mails().is_empty());
    stop(handler);
}
