//! A receiver of Shared Signals (easyssf-receiver): it finds and verifies its stream, and gets
//! events by push and by polling.

use std::ffi::OsStr;

use josekit::jwk::KeyPair;
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::{Value, json};

use super::super::{Ending, Installation, SOON, stop};
use crate::redis::free_port;
use crate::support::process::Process;
use crate::third_party;

const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// Of the receiver, at its stream.
const TOKEN: &str = "token of the receiver";

fn line(process: &Process, part: &str) -> Value {
    let line = process.wait_for_line(SOON, |line| {
        line.text.starts_with('{') && line.text.contains(part)
    });
    serde_json::from_str(&line.text).unwrap()
}

/// Ends a session with a receiver whose `easyssf` configuration has these fields, and an action
/// with those.
fn deliver(receiver_port: u16, method: &str, fields: Value, action: &str) {
    let installation = Installation::new(1);
    let key = installation.files.path().join("key.pem");
    let pair = RsaKeyPair::generate(2048).unwrap();
    std::fs::write(&key, pair.to_pem_private_key()).unwrap();
    let port = free_port();
    let issuer = format!("http://127.0.0.1:{port}");

    let mut config = json!({
        "transmitter-issuer": issuer, "transmitter-access-token": TOKEN,
        "stream": {"id": "signal"},
    });
    let (Value::Object(all), Value::Object(more)) = (&mut config, fields) else {
        unreachable!("both are objects");
    };
    all.extend(more);
    let (config, receiver_port) = (config.to_string(), receiver_port.to_string());
    let variables: [(&str, &OsStr); 2] = [
        ("CONFIG", config.as_ref()),
        ("PORT", receiver_port.as_ref()),
    ];
    let receiver = third_party::signals(&variables);

    let action = format!(
        "  - {{name: signal, type: shared-signals, issuer: '{issuer}', audience: shop, \
         subject: {{format: complex, session: {{format: opaque, id: '{{{{ session_id }}}}'}}}}, \
         stream: {{token: {{valueFrom: {{env: RECEIVER_TOKEN}}}}}}, {action} \
         signingKeys: [{{algorithm: RS256, key: {{valueFrom: {{file: '{}'}}}}}}]}}\n",
        key.display()
    );
    let handler = installation
        .launch(&action, "")
        .env("RECEIVER_TOKEN", TOKEN)
        .args(["--jwks-listen", &format!("127.0.0.1:{port}")])
        .args(["--jwks-issuer", &issuer])
        .start();
    let process = &receiver.process;
    let status = line(process, "status");
    assert_eq!(status, json!({"stream": "signal", "status": "enabled"}));
    line(process, "verified");

    let endings: Vec<_> = ["a", "b", "c"].map(Ending::of).into();
    installation.write(&endings);
    for ending in &endings {
        let event = line(process, &ending.id);
        let expected = json!({
            "events": [EVENT], "session": ending.session, "jti": ending.id, "delivery": method,
        });
        assert_eq!(event, expected);
    }
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
#[ignore = "builds a program of crates.io: .ci/run third-party"]
fn a_receiver_of_shared_signals_gets_events_by_push() {
    let port = free_port();
    let fields = json!({"push": {"expected-auth-header": "Bearer of the receiver"}});
    let action = format!(
        "url: 'http://127.0.0.1:{port}/ssf/push', insecure: true, \
         bearerToken: {{valueFrom: {{env: WEBHOOK_SECRET}}}},"
    );
    deliver(port, "Push", fields, &action);
}

#[test]
#[ignore = "builds a program of crates.io: .ci/run third-party"]
fn a_receiver_of_shared_signals_polls_events() {
    let fields = json!({
        "delivery-method": "poll",
        "poll": {"long-polling": true, "initial-delay": "10ms", "interval": "100ms"},
    });
    deliver(free_port(), "Poll", fields, "");
}
