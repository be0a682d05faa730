//! Helpers for tests of actions: an event, keys, a receiver, and verification of tokens by a
//! library other than the one that signs.

use std::fs;

use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jwk::alg::ed::{EdCurve, EdKeyPair};
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jwk::{Jwk as PublicKey, KeyPair};
use josekit::jws::{ES256, EdDSA, JwsHeader, JwsVerifier, RS256};
use josekit::jwt::{self, JwtPayload};
use tempfile::TempDir;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::error::ActionError;
use super::{Action, ActionInput};
use crate::handler::event::Trigger;

/// The id of the test event.
pub(in crate::handler) const EVENT_ID: &str = "6f9619ff-8b86-5d01-b42d-00cf4fc964ff";

const ENDING: &str = r#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff","session_id":"s-1",
    "user_id":42,"reason":"idle_timeout","policy":{"name":"default","generation":3},
    "started_at":null,"last_activity":null,"ended_at":"2025-02-07T12:00:00.250Z",
    "detected_at":"2025-02-07T12:00:06.000Z",
    "attributes":{"sid":"sid-1","token":"a b&c","email":"user@example.com"}}"#;

/// Runs an action for the test event.
pub(in crate::handler) async fn run(action: &impl Action) -> Result<(), ActionError> {
    let event = Trigger::Ending.decode(ENDING.as_bytes()).unwrap();
    let body = ENDING.as_bytes();
    let event = &event;
    action.run(ActionInput { event, body }).await
}

/// Starts a receiver that sends this response to every request.
pub(in crate::handler) async fn receiver(response: ResponseTemplate) -> MockServer {
    let receiver = MockServer::start().await;
    let any = Mock::given(wiremock::matchers::method("POST"));
    any.respond_with(response).mount(&receiver).await;
    receiver
}

/// The only request that the receiver has got.
pub(in crate::handler) async fn only_request(receiver: &MockServer) -> Request {
    let mut requests = receiver.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

/// Decodes the form in a request.
pub(in crate::handler) fn form(request: &Request) -> Vec<(String, String)> {
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    form_urlencoded::parse(&request.body).into_owned().collect()
}

/// Generates a private key in a file and returns its element of `signingKeys`.
pub(in crate::handler) fn signing_key(folder: &TempDir, algorithm: &str) -> String {
    let pem = match algorithm {
        "RS256" => RsaKeyPair::generate(2048).unwrap().to_pem_private_key(),
        "ES256" => EcKeyPair::generate(EcCurve::P256)
            .unwrap()
            .to_pem_private_key(),
        _ => EdKeyPair::generate(EdCurve::Ed25519)
            .unwrap()
            .to_pem_private_key(),
    };
    let file = folder.path().join(format!("{algorithm}.pem"));
    fs::write(&file, pem).unwrap();
    let file = file.display();
    format!("{{algorithm: {algorithm}, key: {{valueFrom: {{file: '{file}'}}}}}}")
}

/// Verifies a token with the action's published key and decodes it.
pub(in crate::handler) fn verified(token: &str, action: &impl Action) -> (JwsHeader, JwtPayload) {
    let header = jwt::decode_header(token).unwrap();
    let id = header.claim("kid").unwrap().as_str().unwrap();
    let keys = action.public_keys();
    let key = keys
        .iter()
        .find(|key| key.common.key_id.as_deref() == Some(id));
    let key = serde_json::to_vec(key.expect("the key is published")).unwrap();
    let key = PublicKey::from_bytes(key).unwrap();
    let verifier: Box<dyn JwsVerifier> = match header.claim("alg").unwrap().as_str().unwrap() {
        "RS256" => Box::new(RS256.verifier_from_jwk(&key).unwrap()),
        "ES256" => Box::new(ES256.verifier_from_jwk(&key).unwrap()),
        _ => Box::new(EdDSA.verifier_from_jwk(&key).unwrap()),
    };
    let (payload, header) = jwt::decode_with_verifier(token, verifier.as_ref()).unwrap();
    (header, payload)
}
