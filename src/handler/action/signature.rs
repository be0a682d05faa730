//! Signatures of webhook requests, which prove origin and freshness (Standard Webhooks 1.0).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::handler::event::TriggerEvent;
use crate::handler::fields::{ActionConfigError, ActionName};
use crate::handler::secret::{Secret, SecretRef};

/// The header with the id of the event and its kind, which the signature covers.
pub const ID: &str = "Webhook-Id";
/// The header with the time of the signature, in seconds since 1970.
pub const TIMESTAMP: &str = "Webhook-Timestamp";
/// The header with a signature for each secret.
pub const SIGNATURE: &str = "Webhook-Signature";
/// Marks secrets in base64.
const BASE64_PREFIX: &str = "whsec_";

/// The secrets of a webhook. During a rotation there are two, and receivers accept either.
#[derive(Debug)]
pub struct WebhookSecrets(Vec<Secret>);

impl WebhookSecrets {
    /// Reads the secrets in `field` of an action.
    ///
    /// # Errors
    /// [`ActionConfigError`] if one cannot be read, or is not the base64 that its prefix promises.
    pub fn read(
        action: &ActionName,
        field: &'static str,
        secrets: &[SecretRef],
    ) -> Result<Self, ActionConfigError> {
        let key = |reference: &SecretRef| {
            let secret = reference.read_for(action, field)?;
            let encoded = secret.expose_text();
            let Some(encoded) = encoded.and_then(|text| text.strip_prefix(BASE64_PREFIX)) else {
                return Ok(secret);
            };
            let key = BASE64_STANDARD.decode(encoded).map_err(|_| {
                let problem = "starts with whsec_ and is not base64; write whsec_<base64>, or a \
                               secret without that prefix";
                ActionConfigError::field(action, field, problem)
            })?;
            Ok(Secret::from(key))
        };
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Returns one signature for each secret, separated by spaces; empty without secrets.
    #[must_use]
    pub fn sign(&self, id: &str, at: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|secret| sign(secret, id, at, body));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// Returns the value of [`ID`]: as in `ending_6f9619ff-8b86-5d01-b42d-00cf4fc964ff`.
#[must_use]
pub fn id(event: &TriggerEvent) -> String {
    format!("{}_{}", event.trigger().as_str(), event.id())
}

/// Returns `v1,<base64 HMAC-SHA256 over "<id>.<at>.<body>">`.
fn sign(secret: &Secret, id: &str, at: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("a key");
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    let code = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    format!("v1,{code}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn secrets(values: &[&str]) -> Result<WebhookSecrets, ActionConfigError> {
        let folder = TempDir::new().unwrap();
        let references = values.iter().enumerate().map(|(index, value)| {
            let file = folder.path().join(index.to_string());
            fs::write(&file, value).unwrap();
            let text = format!("{{valueFrom: {{file: '{}'}}}}", file.display());
            serde_yaml::from_str(&text).unwrap()
        });
        WebhookSecrets::read(
            &"a".parse().unwrap(),
            "secrets",
            &references.collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_signature_equals_that_of_the_standard() {
        // The example of the Standard Webhooks libraries.
        let secrets = secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        assert_eq!(
            secrets.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_secret_signs() {
        // printf 'a.1700000000.{}' | openssl dgst -sha256 -hmac 'top secret' -binary | base64
        let first = "v1,H/HAYbXgqwEiHOuUjAXLuAS726hH4DQjEx3a74QGglo=";
        let both = secrets(&["top secret", "other"]).unwrap();
        let signed = both.sign("a", 1_700_000_000, b"{}");
        let signatures: Vec<_> = signed.split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(signatures[0], first);
        assert_ne!(signatures[1], first);
    }

    #[test]
    fn a_secret_that_is_not_base64_is_rejected() {
        let error = secrets(&["whsec_*"]).unwrap_err().to_string();
        assert!(
            error.contains("not base64") && !error.contains('*'),
            "{error}"
        );
    }
}
