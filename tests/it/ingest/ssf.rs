//! `POST /v1/ssf/events`: a receiver of Shared Signals (RFC 8935).

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use axum::routing::get;
use axum::{Json, Router};
use josekit::jwk::KeyPair;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::{ES256, JwsHeader};
use josekit::jwt::{self, JwtPayload};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::start_ingest;
use crate::console::client::{Client, HttpResponse};
use crate::redis::free_port;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, Record};
use crate::support::wait::eventually;

const ISSUER: &str = "https://idp.example";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// A provider's published keys.
struct Provider {
    keys: Arc<Mutex<Vec<EcKeyPair>>>,
    url: String,
    _runtime: Runtime,
}

impl Provider {
    fn start() -> Self {
        let keys = Arc::new(Mutex::new(vec![key("a")]));
        let published = Arc::clone(&keys);
        let set = move || {
            let keys = published.lock().expect("no panic");
            let keys: Vec<_> = keys.iter().map(public).collect();
            std::future::ready(Json(json!({ "keys": keys })))
        };
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let router = Router::new().route("/keys", get(set));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            keys,
            url,
            _runtime: runtime,
        }
    }
}

/// The JWK that a provider publishes.
fn public(key: &EcKeyPair) -> Value {
    serde_json::from_str(&key.to_jwk_public_key().to_string()).expect("JSON")
}

fn key(id: &str) -> EcKeyPair {
    let mut key = EcKeyPair::generate(EcCurve::P256).expect("a key");
    key.set_key_id(Some(id));
    key
}

/// An ingest process that receives events of a provider.
struct Port {
    client: Client,
    ingest: RoleProcess,
    _files: TempDir,
}

impl Port {
    fn start(installation: &Installation<'_>, provider: &Provider) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let path = |name: &str| files.path().join(name).to_str().expect("UTF-8").to_owned();
        fs::create_dir(path("tokens")).expect("a folder");
        fs::write(path("tokens/app"), "0123456789abcdef").expect("a token");
        let transmitters = json!({"transmitters": [
            {"issuer": ISSUER, "audience": "sundown", "jwksUri": provider.url},
        ]});
        fs::write(path("ssf.yaml"), transmitters.to_string()).expect("a file");
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let (tokens, ssf) = (path("tokens"), path("ssf.yaml"));
        let args = [
            "--http-listen",
            &listen,
            "--http-tokens",
            &tokens,
            "--ssf-transmitters",
            &ssf,
        ];
        let ingest = start_ingest(installation, &args);
        ingest.await_ready();
        Self {
            client: Client::new(port),
            ingest,
            _files: files,
        }
    }

    fn push(&self, token: &str) -> HttpResponse {
        let kind = [("content-type", "application/secevent+jwt")];
        self.client.send("POST", "/v1/ssf/events", &kind, token)
    }

    fn refused(&self, token: &str, code: &str) {
        let answer = self.push(token);
        assert_eq!(answer.status, 400, "{}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(body["err"], code, "{body}");
    }
}

/// A token with these claims besides issuer, audience and time.
fn token(key: &EcKeyPair, kind: &str, id: &str, claims: &Value) -> String {
    let mut all = json!({"iss": ISSUER, "aud": ["sundown"], "iat": 1_700_000_000, "jti": id});
    let object = all.as_object_mut().expect("an object");
    object.extend(claims.as_object().expect("an object").clone());
    let mut header = JwsHeader::new();
    header.set_token_type(kind);
    header.set_key_id(key.key_id().expect("an id"));
    let payload = JwtPayload::from_map(object.clone()).expect("claims");
    let signer = ES256
        .signer_from_jwk(&key.to_jwk_private_key())
        .expect("a signer");
    jwt::encode_with_signer(&payload, &header, &signer).expect("a token")
}

fn signal(key: &EcKeyPair, id: &str, event: &str, user: &str) -> String {
    let now = sundown::clock::Clock::default().wall().as_millis() / 1_000;
    let claims = json!({
        "iat": now,
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": user},
        "events": {format!("{CAEP}{event}"): {"event_timestamp": now}},
    });
    token(key, "secevent+jwt", id, &claims)
}

/// The event types that led to revocations.
fn notes(installation: &Installation<'_>) -> Vec<String> {
    let records = installation.read("session_logs");
    let revocations = records.iter().map(Record::json).filter(|event| {
        let by = event["by"].as_str();
        event["event"] == "revoke" && by == Some(ISSUER)
    });
    let notes = revocations.map(|event| event["note"].as_str().expect("a text").to_owned());
    let notes: BTreeSet<_> = notes.collect();
    notes.into_iter().collect()
}

#[test]
fn signals_of_a_provider_end_sessions() {
    let limits = Limits {
        idle: 3_600_000,
        ..SHORT
    };
    let installation = Installation::new(Kafka::shared(), limits);
    let provider = Provider::start();
    let port = Port::start(&installation, &provider);
    let tracker = installation.tracker(&["--absolute-timeout", "1h"]);
    tracker.await_ready();
    let key = provider.keys.lock().expect("no panic")[0].clone();
    let events =
        [("s1", "ann"), ("s2", "ann"), ("s3", "ben"), ("s4", "eve")].map(|(session, user)| {
            let event = json!({"session_id": session, "user_id": user});
            NewRecord::new(session, event.to_string())
        });
    installation
        .kafka
        .produce(&installation.session_logs(), events);
    tracker.await_metric("sundown_tracker_sessions_started_total", "", 4);

    let revoked = signal(&key, "1", "session-revoked", "ann");
    for _ in 0..2 {
        assert_eq!(port.push(&revoked).status, 202);
    }
    assert_eq!(
        port.push(&signal(&key, "2", "credential-change", "ben"))
            .status,
        202
    );
    let endings = eventually(SOON, "the endings", || {
        let endings = installation.read("expired_sessions");
        (endings.len() >= 3).then_some(endings)
    });
    let mut ended: Vec<_> = endings
        .iter()
        .map(|ending| {
            let ending = ending.json();
            assert_eq!(ending["reason"], "revoked");
            assert_eq!(ending["initiator"]["by"], ISSUER);
            ending["session_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    ended.sort();
    assert_eq!(ended, ["s1", "s2", "s3"]);

    // A token that comes again, a test of the stream and other events change nothing.
    let stream = json!({"sub_id": {"format": "opaque", "id": "stream"}, "events": {VERIFICATION: {"state": "x"}}});
    assert_eq!(
        port.push(&token(&key, "secevent+jwt", "3", &stream)).status,
        202
    );
    assert_eq!(
        port.push(&signal(&key, "4", "device-compliance-change", "eve"))
            .status,
        202
    );
    assert_eq!(
        notes(&installation),
        ["credential-change", "session-revoked"]
    );

    // A new key of the provider.
    let newer = self::key("b");
    provider.keys.lock().expect("no panic").push(newer.clone());
    eventually(SOON, "the new key", || {
        let answer = port.push(&signal(&newer, "5", "session-revoked", "eve"));
        (answer.status == 202).then_some(())
    });
    eventually(SOON, "the last ending", || {
        (installation.read("expired_sessions").len() == 4).then_some(())
    });
    port.ingest.stop();
    tracker.stop();
}

#[test]
fn tokens_that_cannot_be_trusted_are_refused_by_code() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let provider = Provider::start();
    let port = Port::start(&installation, &provider);
    let key = provider.keys.lock().expect("no panic")[0].clone();
    let good = json!({
        "sub_id": {"format": "email", "email": "ann@example.com"},
        "events": {format!("{CAEP}session-revoked"): {}},
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(&key, "secevent+jwt", "1", &claims)
    };
    port.refused("{}", "invalid_request");
    port.refused(&token(&key, "JWT", "1", &good), "invalid_request");
    port.refused(
        &with("iss", json!("https://elsewhere.example")),
        "invalid_issuer",
    );
    port.refused(&with("aud", json!("another")), "invalid_audience");
    port.refused(
        &with("sub_id", json!({"format": "unknown"})),
        "invalid_request",
    );
    port.refused(&with("events", json!("x")), "invalid_request");
    // Of another key with the same id, and of one that the provider does not have.
    port.refused(
        &token(&self::key("a"), "secevent+jwt", "1", &good),
        "invalid_key",
    );
    port.refused(
        &token(&self::key("z"), "secevent+jwt", "1", &good),
        "invalid_key",
    );
    // A signature that any client can make.
    let payload = with("jti", json!("2"))
        .split('.')
        .nth(1)
        .expect("a payload")
        .to_owned();
    let none = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        r#"{"alg":"none","typ":"secevent+jwt"}"#,
    );
    port.refused(&format!("{none}.{payload}."), "invalid_request");
    let kind = [("content-type", "application/json")];
    let answer = port
        .client
        .send("POST", "/v1/ssf/events", &kind, &with("jti", json!("2")));
    assert_eq!(answer.status, 400);
    assert!(installation.read("session_logs").is_empty());
    port.ingest.stop();
}
