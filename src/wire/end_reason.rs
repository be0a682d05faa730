//! The wire form of [`EndReason`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::EndReason;

/// EndReason for the end of a session.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "EndReason", rename_all = "snake_case")]
#[schemars(rename = "EndReason")]
pub enum EndReasonFormat {
    /// The idle timeout of the policy elapsed.
    IdleTimeout,
    /// The absolute timeout of the policy elapsed.
    AbsoluteTimeout,
    /// The user logged out.
    Logout,
    /// An administrator revoked the session.
    Revoked,
    /// Another session id replaced this one.
    Rotated,
    /// The user had more sessions than the policy allows.
    SessionLimit,
}

/// Serializes an `Option<EndReason>`, for `#[serde(with)]`.
pub mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::EndReasonFormat;
    use crate::session::EndReason;

    #[derive(Serialize, Deserialize)]
    struct Wrapper(#[serde(with = "EndReasonFormat")] EndReason);

    /// Serializes the name of the reason, or null.
    ///
    /// # Errors
    /// If the serializer fails.
    pub fn serialize<S: Serializer>(
        reason: &Option<EndReason>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        reason.map(Wrapper).serialize(serializer)
    }

    /// Deserializes the name of a reason, or null.
    ///
    /// # Errors
    /// If the name is not a reason.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<EndReason>, D::Error> {
        let reason = Option::<Wrapper>::deserialize(deserializer)?;
        Ok(reason.map(|Wrapper(reason)| reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_those_of_the_core() {
        #[derive(Serialize, Deserialize)]
        struct Ended {
            #[serde(with = "EndReasonFormat")]
            reason: EndReason,
            #[serde(default, with = "option")]
            optional: Option<EndReason>,
        }
        for reason in EndReason::ALL {
            let optional = Some(reason);
            let json = serde_json::to_value(Ended { reason, optional }).unwrap();
            assert_eq!(json["reason"], reason.as_str());
            assert_eq!(json["optional"], reason.as_str());
            let ended: Ended = serde_json::from_value(json).unwrap();
            assert_eq!((ended.reason, ended.optional), (reason, optional));
        }
    }
}
