//! Values in cookies, under a seal: every replica of the console that has the same secret accepts them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::token::{constant_time_eq, hmac_sha256};

/// Seals values.
pub struct Seal {
    key: [u8; 32],
}

impl Seal {
    /// Creates a seal whose key is derived from a secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut mac = hmac_sha256(secret);
        mac.update(b"sundown console logins");
        Self {
            key: mac.finalize().into_bytes().into(),
        }
    }

    /// The text of a value with its seal. A value that is sealed for one purpose does not serve another.
    #[must_use]
    pub fn close<T: Serialize>(&self, purpose: &str, value: &T) -> String {
        let value = serde_json::to_vec(value).unwrap_or_default();
        let content = URL_SAFE_NO_PAD.encode(value);
        let seal = hex::encode(self.derive(purpose, &content));
        format!("{content}.{seal}")
    }

    /// The value of a text, if the seal is genuine.
    #[must_use]
    pub fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        let (content, seal) = text.rsplit_once('.')?;
        let seal = hex::decode(seal).ok()?;
        if !constant_time_eq(&seal, &self.derive(purpose, content)) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(content).ok()?).ok()
    }

    /// A secret for a purpose, derived from a text.
    #[must_use]
    pub fn derive(&self, purpose: &str, text: &str) -> Vec<u8> {
        let mut mac = hmac_sha256(&self.key);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_changed_does_not_open() {
        let seal = Seal::new(b"secret");
        let text = seal.close("login", &7);
        assert_eq!(seal.open("login", &text), Some(7));
        assert_eq!(seal.open::<i32>("other purpose", &text), None);
        assert_eq!(Seal::new(b"other").open::<i32>("login", &text), None);
        let (content, mac) = text.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode("8");
        for forged in [
            format!("{other}.{mac}"),
            format!("{content}."),
            format!("{content}.{}", &mac[2..]),
            "made up".to_owned(),
            String::new(),
        ] {
            assert_eq!(seal.open::<i32>("login", &forged), None, "{forged}");
        }
    }
}
