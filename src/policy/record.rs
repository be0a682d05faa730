//! Policy records of `sundown.policies`: the key is the full name of the policy, the value its
//! document as JSON; a tombstone deletes the policy.

use serde_json::error::Error as JsonError;

use crate::policy::document::{PolicyError, SessionPolicy};
use crate::session::Policy;

/// A decoded record.
#[derive(Clone, Debug)]
pub enum PolicyRecord {
    Active {
        document: Box<SessionPolicy>,
        /// The compiled document.
        policy: Policy,
    },
    /// A tombstone of the policy with this full name.
    Deleted(String),
}

/// Why a record is invalid.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRecordError {
    /// The key is missing, empty or not UTF-8.
    #[error("the key is not the name of a policy: write policies with sundown policy apply")]
    Key,
    /// The value is not the JSON of a session policy.
    #[error("policy '{name}': {source}; apply the policy again")]
    Malformed { name: String, source: JsonError },
    #[error("{0}; correct it and apply it again")]
    Invalid(#[from] PolicyError),
    #[error("the record with the key '{key}' holds the policy '{name}': apply both again")]
    Misnamed { key: String, name: String },
    #[error("policy '{0}': metadata.generation is missing or 0; apply the policy again")]
    NoGeneration(String),
}

/// Encodes the value of a policy's record; the key is [`SessionPolicy::full_name`]. The
/// document must have a generation.
#[must_use]
pub fn encode(document: &SessionPolicy) -> String {
    // Strings, numbers and maps of strings always serialize.
    serde_json::to_string(document).unwrap_or_default()
}

/// Decodes and validates a record.
///
/// # Errors
/// If the record is invalid; it must be ignored then.
pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<PolicyRecord, PolicyRecordError> {
    let name = key.and_then(|key| str::from_utf8(key).ok());
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or(PolicyRecordError::Key)?.to_owned();
    let Some(value) = value else {
        return Ok(PolicyRecord::Deleted(name));
    };
    let document: SessionPolicy = match serde_json::from_slice(value) {
        Ok(document) => document,
        Err(source) => return Err(PolicyRecordError::Malformed { name, source }),
    };
    let policy = document.to_policy()?;
    if policy.name != name {
        return Err(PolicyRecordError::Misnamed {
            key: name,
            name: policy.name,
        });
    }
    if document.metadata.generation.unwrap_or_default() == 0 {
        return Err(PolicyRecordError::NoGeneration(name));
    }
    let document = Box::new(document);
    Ok(PolicyRecord::Active { document, policy })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Span;
    use serde_json::{Value, json};

    fn document() -> Value {
        json!({
            "apiVersion": "sundown.dev/v1alpha1",
            "kind": "SessionPolicy",
            "metadata": {"name": "mobile", "namespace": "shop", "generation": 3},
            "spec": {"idleTimeout": "15m", "priority": 0, "actions": ["audit"], "suspend": false},
        })
    }

    fn read(key: &str, value: &Value) -> Result<PolicyRecord, String> {
        let value = value.to_string();
        decode(Some(key.as_bytes()), Some(value.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn an_encoded_policy_is_decoded() {
        let read_back = read("shop/mobile", &document()).unwrap();
        let PolicyRecord::Active {
            document: found,
            policy,
        } = read_back
        else {
            panic!("{read_back:?}");
        };
        assert_eq!(
            (policy.name.as_str(), policy.generation),
            ("shop/mobile", 3)
        );
        assert_eq!(policy.idle_timeout, Span::from_secs(900));
        let written: Value = serde_json::from_str(&encode(&found)).unwrap();
        assert_eq!(written, document());
    }

    #[test]
    fn a_tombstone_is_a_deletion() {
        let record = decode(Some(b"mobile"), None).unwrap();
        assert!(matches!(record, PolicyRecord::Deleted(name) if name == "mobile"));
    }

    #[test]
    fn invalid_records_are_errors() {
        let with = |pointer: &str, value: Value| {
            let mut document = document();
            *document.pointer_mut(pointer).unwrap() = value;
            document
        };
        for (key, value, words) in [
            (
                "mobile",
                document(),
                "'mobile' holds the policy 'shop/mobile'",
            ),
            ("", document(), "not the name of a policy"),
            ("shop/mobile", json!([1]), "policy 'shop/mobile'"),
            (
                "shop/mobile",
                with("/spec/idleTimeout", json!("0s")),
                "more than zero",
            ),
            (
                "shop/mobile",
                with("/metadata/generation", json!(0)),
                "generation",
            ),
        ] {
            let error = read(key, &value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(decode(None, None).is_err());
    }
}
