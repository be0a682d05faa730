//! Mails, read by another library than the one that writes them.

use mail_parser::{Address as ParsedAddress, MessageParser, MimeHeaders};
use tempfile::TempDir;

use super::*;
use crate::handler::event::Trigger;

fn mail(from: &str, to: &str, subject: &str, body: &str) -> Result<Vec<u8>, ActionError> {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let text = format!(
        "{{name: mail, type: smtp, server: 'localhost:25', tls: none, from: {}, to: {}, \
         subject: {}, body: {}}}",
        quoted(from),
        quoted(to),
        quoted(subject),
        quoted(body)
    );
    let action = Smtp::new(serde_yaml::from_str(&text).unwrap()).unwrap();
    let ending = r#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff","session_id":"s",
        "user_id":"jörg","reason":"logout","policy":{"name":"default","generation":0},
        "started_at":null,"last_activity":null,"ended_at":"2025-02-07T12:00:00.000Z",
        "detected_at":"2025-02-07T12:00:00.000Z"}"#;
    let event = Trigger::Ending.decode(ending.as_bytes()).unwrap();
    let body = ending.as_bytes();
    let event = &event;
    let mail = action.compose(ActionInput { event, body })?;
    Ok(mail.formatted())
}

fn only<'a>(list: Option<&'a ParsedAddress<'a>>) -> (Option<&'a str>, Option<&'a str>) {
    let address = list.and_then(ParsedAddress::first).unwrap();
    (address.name(), address.address())
}

#[test]
fn text_beyond_ascii_arrives_as_it_was_written() {
    let body = "Grüße … 終わり €\nfür {{ user_id }}\n";
    let subject =
        "Sitzung beendet: 終わり, {{ user_id }}, und noch viel mehr Text, damit es umbricht";
    let from = "Größe AG <noreply@exämple.com>";
    let bytes = mail(from, "Jörg <joerg@example.org>", subject, body).unwrap();
    assert!(bytes.is_ascii(), "no server needs 8BITMIME");
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(
        parsed.header_raw("MIME-Version").map(str::trim),
        Some("1.0")
    );
    let content_type = parsed.content_type().unwrap();
    assert_eq!(content_type.ctype(), "text");
    assert_eq!(content_type.subtype(), Some("plain"));
    assert_eq!(content_type.attribute("charset"), Some("utf-8"));
    let text = parsed.body_text(0).unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), "Grüße … 終わり €\nfür jörg");
    assert_eq!(
        parsed.subject(),
        Some(subject.replace("{{ user_id }}", "jörg").as_str())
    );
    assert_eq!(
        only(parsed.from()),
        (Some("Größe AG"), Some("noreply@xn--exmple-cua.com"))
    );
    assert_eq!(only(parsed.to()), (Some("Jörg"), Some("joerg@example.org")));
    assert!(parsed.date().is_some());
    let id = "6f9619ff-8b86-5d01-b42d-00cf4fc964ff@xn--exmple-cua.com";
    assert_eq!(parsed.message_id(), Some(id));
}

#[test]
fn a_field_of_the_event_cannot_add_a_header() {
    let bytes = mail("a@b.c", "d@e.f", "{{ user_id }}\r\nBcc: g@h.i", "text").unwrap();
    let parsed = MessageParser::default().parse(&bytes).unwrap();
    assert!(parsed.bcc().is_none());
    assert_eq!(parsed.subject(), Some("jörg Bcc: g@h.i"));
}

#[test]
fn a_recipient_that_is_no_address_is_the_events_fault() {
    let error = mail("a@b.c", "{{ user_id }}", "s", "b").unwrap_err();
    assert!(!error.fault.is_target(), "{error}");
}

#[test]
fn the_certificate_of_the_server_must_not_be_an_authority() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("server.pem");
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes",
            "-subj",
            "/CN=mail",
            "-addext",
            "subjectAltName=DNS:mail.example",
        ])
        .arg("-keyout")
        .arg(folder.path().join("key.pem"))
        .arg("-out")
        .arg(&file)
        .output();
    assert!(made.unwrap().status.success());
    let text = format!(
        "{{name: mail, type: smtp, server: 'mail.example:25', caFile: '{}', from: a@b.c, \
         to: a@b.c, subject: s, body: b}}",
        file.display()
    );
    let error = Smtp::new(serde_yaml::from_str(&text).unwrap())
        .err()
        .unwrap();
    assert!(error.to_string().contains("CaUsedAsEndEntity"), "{error}");
}

#[test]
fn an_ipv6_address_has_brackets_before_its_port() {
    let server: SmtpServer = serde_yaml::from_str("'[2001:db8::25]:587'").unwrap();
    assert_eq!((server.host.as_str(), server.port), ("2001:db8::25", 587));
}
