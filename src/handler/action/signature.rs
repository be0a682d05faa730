//! How a receiver can tell that a webhook call is genuine and fresh.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::handler::secret::Secret;

/// The header that carries the signature.
pub const HEADER: &str = "Sundown-Signature";

/// `t=<at>,v1=<hex HMAC-SHA256 over "<at>.<body>">`, where `at` is in seconds since the
/// epoch. The time is signed too, so that a receiver can refuse what is old.
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
    fn it_is_what_openssl_computes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'top secret'
        let secret = Secret::from(b"top secret".to_vec());
        assert_eq!(
            sign(&secret, 1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=b818565009498d6980f18cd02e140c93528f621038a94cf111e7fee05f3a2bbf"
        );
    }
}
