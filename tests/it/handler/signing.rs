//! Signed tokens, and the keys that the handler serves for them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use josekit::jwk::{JwkSet, KeyPair, alg::ec::EcCurve, alg::ec::EcKeyPair};
use josekit::jws::ES256;
use josekit::jwt::{self, JwtPayload};

use super::{Ending, Installation, SOON, stop};
use crate::receiver::{Receiver, Response};
use crate::support::process::Process;
use crate::tls::Identity;

/// What the handler's listener for keys answers.
fn get(handler: &Process, path: &str) -> String {
    let line = handler.wait_for_line(SOON, |line| line.text.contains("\"jwks\""));
    let line: serde_json::Value = serde_json::from_str(&line.text).unwrap();
    let mut stream = TcpStream::connect(line["jwks"].as_str().unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: keys\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn verified(token: &str, keys: &JwkSet) -> JwtPayload {
    let header = jwt::decode_header(token).unwrap();
    let id = header.claim("kid").unwrap().as_str().unwrap();
    let keys = keys.get(id);
    let verifier = ES256.verifier_from_jwk(keys.first().expect("the key is served"));
    let (claims, _) = jwt::decode_with_verifier(token, &verifier.unwrap()).unwrap();
    claims
}

#[test]
fn keys_are_served_over_https() {
    let installation = Installation::new(1);
    let identity = Identity::new();
    let handler = installation
        .launch("  - {name: log, type: log}\n", "")
        .args(["--jwks-listen", "127.0.0.1:0", "--jwks-tls-cert"])
        .arg(identity.certificate())
        .arg("--jwks-tls-key")
        .arg(identity.key())
        .start();
    let line = handler.wait_for_line(SOON, |line| line.text.contains("\"jwks\""));
    let line: serde_json::Value = serde_json::from_str(&line.text).unwrap();
    let address = line["jwks"].as_str().unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--cacert"])
        .arg(identity.certificate())
        .arg(format!("https://{address}/.well-known/jwks.json"))
        .output();
    let output = output.expect("curl is installed");
    assert_eq!(
        str::from_utf8(&output.stdout),
        Ok(r#"{"keys":[]}"#),
        "{output:?}"
    );
    stop(handler);
}

#[test]
fn relying_parties_can_check_tokens_with_the_keys_that_are_served() {
    let installation = Installation::new(1);
    let relying_party = Receiver::start(|_| Response::Status(200));
    let signals = Receiver::start(|_| Response::Status(202));
    let key = installation.files.path().join("key.pem");
    let pair = EcKeyPair::generate(EcCurve::P256).unwrap();
    std::fs::write(&key, pair.to_pem_private_key()).unwrap();
    let common = format!(
        "issuer: 'https://id.example', audience: shop, signingKeys: \
         [{{algorithm: ES256, key: {{valueFrom: {{file: {}}}}}}}]",
        key.display()
    );
    let actions = format!(
        "  - {{name: logout, type: oidc-backchannel-logout, url: '{}', {common}, \
         sub: '{{{{ user_id }}}}'}}\n  - {{name: signal, type: shared-signals, url: '{}', \
         {common}, subject: {{format: opaque, id: '{{{{ session_id }}}}'}}}}\n",
        relying_party.url(),
        signals.url()
    );
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let handler = installation
        .launch(&actions, "")
        .args(["--jwks-listen", "127.0.0.1:0"])
        .args(["--jwks-issuer", "https://id.example/"])
        .start();

    let logout = relying_party.wait_for(SOON, 1).remove(0).body;
    let signal = signals.wait_for(SOON, 1).remove(0).body;
    let answer = get(&handler, "/.well-known/jwks.json");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let keys = JwkSet::from_bytes(body.as_bytes()).unwrap();
    assert_eq!(keys.keys().len(), 1, "one key, used twice, served once");
    let token = logout.strip_prefix(b"logout_token=").unwrap();
    let ids = [token, &signal[..]].map(|token| {
        let claims = verified(str::from_utf8(token).unwrap(), &keys);
        assert_eq!(claims.audience(), Some(vec!["shop"]));
        claims.jwt_id().unwrap().to_owned()
    });
    assert_ne!(ids[0], ending.id, "a logout token has an id of its own");
    assert_eq!(ids[1], ending.id, "an event keeps its id");
    let answer = get(&handler, "/.well-known/openid-configuration");
    let (_, found) = answer.split_once("\r\n\r\n").unwrap();
    let found: serde_json::Value = serde_json::from_str(found).unwrap();
    let expected = serde_json::json!({
        "issuer": "https://id.example/",
        "jwks_uri": "https://id.example/.well-known/jwks.json",
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    assert_eq!(found, expected);
    assert!(get(&handler, "/metrics").starts_with("HTTP/1.1 404"));
    installation.wait_until_drained();
    stop(handler);
}
