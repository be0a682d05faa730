//! Signatures of webhook requests, which prove origin and freshness.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::handler::secret::Secret;

pub const HEADER: &str = "Sundown-Signature";

/// Returns `t=<at>,v1=<hex HMAC-SHA256 over "<at>.<body>">`, with `at` in seconds since the epoch.
/// The signature covers the time, so that receivers can refuse replays.
#[must_use]
pub fn sign(secret: &Secret, at: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("a key");
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let code = hex::encode(mac.finalize().into_bytes());
    format!("t={at},v1={code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_equals_that_of_openssl() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'top secret'
        let secret = Secret::from(b"top secret".to_vec());
        assert_eq!(
            sign(&secret, 1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=b818565009498d6980f18cd02e140c93528f621038a94cf111e7fee05f3a2bbf"
        );
    }
}
