//! Readers of requests to ingest.

use std::io::Write as _;
use std::sync::OnceLock;

use serde_json::json;
use sundown::ingest::http::body::events;
use sundown::ingest::http::ssf::events::{OpaqueSubject, SecurityEventClaims};
use sundown::ingest::http::ssf::token::verify;
use sundown::ingest::http::ssf::transmitters::{Transmitter, read};
use sundown::session::{Span, Timestamp};
use sundown::wire::event::{DecodeLimits, decode};
use tempfile::NamedTempFile;
use tokio::runtime::{Builder, Runtime};

use super::first_line;

/// The time of records, which events without a time of their own get.
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// The issuer is known and has no keys: nothing listens on the port.
const TRANSMITTERS: &str = "transmitters:
  - {issuer: 'https://idp.example', audience: sundown, jwksUri: 'http://127.0.0.1:9/keys'}
";

/// The first line is the content type, the rest the body. Trackers can decode what is accepted.
pub(super) fn http_body(data: &[u8]) {
    let (content_type, body) = first_line(data);
    let content_type = str::from_utf8(content_type).ok();
    let content_type = content_type.filter(|text| !text.is_empty());
    let limits = DecodeLimits {
        max_event_age: Span::from_millis(i64::MAX),
        ..DecodeLimits::default()
    };
    for event in events(content_type, body).into_iter().flatten() {
        let decoded = decode(Some(event.value.as_bytes()), Some(NOW), &limits);
        assert!(decoded.is_ok(), "{}: {decoded:?}", event.value);
    }
}

/// The first line is a token, the rest claims, whose revocations are session events.
pub(super) fn ssf_token(data: &[u8]) {
    let (token, claims) = first_line(data);
    let (runtime, transmitters) = receiver();
    if let Ok(token) = str::from_utf8(token) {
        let verified = runtime.block_on(verify(token, transmitters));
        assert!(verified.is_err(), "there is no key to verify it with");
    }
    let Ok(claims) = serde_json::from_slice::<SecurityEventClaims>(claims) else {
        return;
    };
    for opaque in [OpaqueSubject::User, OpaqueSubject::Session] {
        if let Ok(requested) = claims.requested(opaque) {
            let revocations = json!(requested.revocations).to_string();
            let _written_or_refused = events(None, revocations.as_bytes());
        }
    }
}

fn receiver() -> &'static (Runtime, Vec<Transmitter>) {
    static RECEIVER: OnceLock<(Runtime, Vec<Transmitter>)> = OnceLock::new();
    RECEIVER.get_or_init(|| {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(TRANSMITTERS.as_bytes())
            .expect("a temporary file");
        let runtime = Builder::new_current_thread().enable_all().build();
        let transmitters = read(file.path()).expect("a file of transmitters");
        (runtime.expect("a runtime"), transmitters)
    })
}
