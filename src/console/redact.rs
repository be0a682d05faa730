//! Pseudonyms instead of ids, stable within a process and not reversible outside of it.

use std::collections::BTreeMap;

use hmac::Mac;
use serde_json::Value;

use crate::http::token::hmac_sha256;

/// Replaces the value of an attribute.
const MASK: &str = "…";

/// Replaces ids by pseudonyms if `--redact` is on.
#[derive(Clone)]
pub struct Redactor {
    key: Option<[u8; 32]>,
}

impl Redactor {
    /// Creates a redactor with a random key.
    #[must_use]
    pub fn new(redact: bool) -> Self {
        Self {
            key: redact.then(rand::random),
        }
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.key.is_some()
    }

    /// The pseudonym of an id: `~` and ten hexadecimal digits.
    #[must_use]
    pub fn id(&self, id: &str) -> String {
        let Some(key) = &self.key else {
            return id.to_owned();
        };
        let mut mac = hmac_sha256(key);
        mac.update(id.as_bytes());
        let digest = mac.finalize().into_bytes();
        format!("~{}", hex::encode(&digest[..5]))
    }

    /// Attributes with masked values.
    #[must_use]
    pub fn attributes(&self, attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut shown = attributes.clone();
        if self.is_on() {
            shown.values_mut().for_each(|value| MASK.clone_into(value));
        }
        shown
    }

    /// Replaces ids and masks attributes in a JSON value.
    pub fn json(&self, value: &mut Value) {
        if !self.is_on() {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    match (name.as_str(), &*value) {
                        ("session_id" | "except_session_id" | "user_id", Value::String(id)) => {
                            *value = Value::String(self.id(id));
                        }
                        ("session_id" | "except_session_id" | "user_id", Value::Number(id)) => {
                            *value = Value::String(self.id(&id.to_string()));
                        }
                        ("attributes", Value::Object(_)) | ("by" | "note", Value::String(_)) => {
                            *value = Value::String(MASK.to_owned());
                        }
                        _ => self.json(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.json(value)),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({})", if self.is_on() { "on" } else { "off" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_become_pseudonyms_that_stay_the_same() {
        let redactor = Redactor::new(true);
        assert_eq!(redactor.id("a"), redactor.id("a"));
        assert_ne!(redactor.id("a"), redactor.id("b"));
        assert_ne!(redactor.id("a"), Redactor::new(true).id("a"));
        let mut event = json!({
            "session_id": "a", "user_id": 7, "attributes": {"name": "joe"}, "event": "login",
            "except_session_id": "b", "by": "joe@example.org", "note": "joe asked",
        });
        redactor.json(&mut event);
        let text = event.to_string();
        for id in ["a", "b", "7"] {
            assert!(text.contains(&redactor.id(id)), "{text}");
        }
        assert!(text.contains("login") && !text.contains("joe"), "{text}");
        assert_eq!(Redactor::new(false).id("a"), "a");
    }
}
