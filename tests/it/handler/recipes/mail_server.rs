//! A mail server (aiosmtpd), and Python's parser for mails.

use std::ffi::OsStr;

use serde_json::{Value, json};

use super::super::{Ending, Installation, SOON, stop};
use crate::third_party::{self, Server};
use crate::tls::Identity;

fn start(identity: &Identity, more: &[(&str, &OsStr)]) -> Server {
    let (certificate, key) = (identity.certificate(), identity.key());
    let files = [
        ("CERTIFICATE", certificate.as_os_str()),
        ("KEY", key.as_os_str()),
    ];
    third_party::mail_server(&[&files, more].concat())
}

fn smtp(server: &Server, identity: &Identity) -> String {
    format!(
        "  - name: mail\n    type: smtp\n    server: '{}'\n    caFile: '{}'\n    \
         'username': sundown\n    password: {{valueFrom: {{env: WEBHOOK_SECRET}}}}\n    \
         from: 'Größe AG <noreply@example.com>'\n    to: '{{{{ user_id }}}}@example.org'\n    \
         subject: 'Sitzung bei {{{{ attributes.tenant }}}} beendet'\n    \
         body: 'Grüße … 終わり €'\n",
        server.url,
        identity.certificate().display()
    )
}

fn mail(server: &Server) -> Value {
    let line = server
        .process
        .wait_for_line(SOON, |line| line.text.starts_with('{'));
    serde_json::from_str(&line.text).unwrap()
}

#[test]
#[ignore = "needs Python and pip: .ci/run third-party"]
fn a_mail_server_gets_the_mail_as_it_was_written() {
    let identity = Identity::new();
    let server = start(&identity, &[]);
    let installation = Installation::new(1);
    let [jane, joerg] = ["jane", "jörg"].map(Ending::of);
    installation.write(&[joerg, jane.clone()]);
    let handler = installation.start(&smtp(&server, &identity), "");
    let expected = json!({
        "recipients": ["jane@example.org"], "encrypted": true, "login": "sundown",
        "defects": [], "from": ["Größe AG", "noreply@example.com"], "to": ["jane@example.org"],
        "subject": "Sitzung bei ümlaut beendet", "mime_version": "1.0",
        "content_type": "text/plain", "charset": "utf-8",
        "message_id": format!("<{}@example.com>", jane.id), "body": "Grüße … 終わり €",
    });
    let mut mail = mail(&server);
    let body = mail["body"].as_str().unwrap().trim_end().to_owned();
    mail["body"] = body.into();
    assert_eq!(mail, expected);
    let letters = installation.wait_for_dead_letters(1);
    let error = letters[0].header("sundown-dlq-error").unwrap();
    assert!(error.contains("SMTPUTF8"), "{error}");
    installation.wait_until_drained();
    stop(handler);
}

#[test]
#[ignore = "needs Python and pip: .ci/run third-party"]
fn a_mail_server_with_smtputf8_gets_mail_for_international_addresses() {
    let identity = Identity::new();
    let server = start(&identity, &[("SMTPUTF8", "yes".as_ref())]);
    let installation = Installation::new(1);
    installation.write(&[Ending::of("jörg")]);
    let handler = installation.start(&smtp(&server, &identity), "");
    let mail = mail(&server);
    assert_eq!(mail["recipients"], json!(["jörg@example.org"]));
    assert_eq!(mail["to"], json!(["jörg@example.org"]));
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}
