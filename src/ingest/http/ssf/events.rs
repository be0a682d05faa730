//! From the claims of a security event token to revocations.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Where the SSF, CAEP and RISC event types are.
const SSF_VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// The verified claims of a token (RFC 8417, section 2.2).
#[derive(Debug, Deserialize)]
pub struct SecurityEventClaims {
    pub iss: String,
    pub jti: String,
    iat: i64,
    sub_id: Option<Value>,
    events: BTreeMap<String, Value>,
}

/// What an opaque subject identifier is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpaqueSubject {
    #[default]
    User,
    Session,
}

/// What a token asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Requested {
    /// Session events to write.
    pub revocations: Vec<Value>,
    /// Whether it only tests the stream.
    pub is_verification: bool,
}

/// The user and the session of a subject identifier.
#[derive(Debug, Default, PartialEq, Eq)]
struct SubjectIdentifier {
    user: Option<String>,
    session: Option<String>,
}

impl SecurityEventClaims {
    /// The revocations that the events ask for. Events of other types ask for nothing.
    ///
    /// # Errors
    /// If an event that is a revocation has no subject that can be understood.
    pub fn requested(&self, opaque: OpaqueSubject) -> Result<Requested, String> {
        let mut requested = Requested::default();
        for (kind, event) in &self.events {
            if kind == SSF_VERIFICATION {
                requested.is_verification = true;
                continue;
            }
            let Some((name, of_session)) = revocation(kind) else {
                continue;
            };
            // Drafts of RISC have the subject in the event.
            let subject = self.sub_id.as_ref().or_else(|| event.get("subject"));
            let subject = subject.ok_or("the token has no sub_id")?;
            let subject = SubjectIdentifier::of(subject, opaque)
                .ok_or_else(|| format!("the subject {subject} names no user or session"))?;
            let at = event.get("event_timestamp").and_then(Value::as_i64);
            let mut revocation = json!({
                "event": "revoke",
                "activity_timestamp": at.unwrap_or(self.iat),
                "by": self.iss,
                "note": name,
            });
            match (subject.session, subject.user) {
                (Some(session), user) if of_session || user.is_none() => {
                    revocation["session_id"] = session.into();
                }
                (_, Some(user)) => revocation["user_id"] = user.into(),
                (_, None) => return Err("the subject names no user or session".to_owned()),
            }
            requested.revocations.push(revocation);
        }
        Ok(requested)
    }
}

/// The name of an event type that ends sessions, and whether it may concern a single one.
fn revocation(kind: &str) -> Option<(&str, bool)> {
    if let Some(name) = kind.strip_prefix(CAEP) {
        return match name {
            "session-revoked" => Some((name, true)),
            "credential-change" => Some((name, false)),
            _ => None,
        };
    }
    let name = kind.strip_prefix(RISC)?;
    let known = ["account-disabled", "account-purged", "sessions-revoked"];
    known.contains(&name).then_some((name, false))
}

impl SubjectIdentifier {
    /// Reads a subject identifier (RFC 9493), also of the draft that RISC 1.0 refers to.
    fn of(identifier: &Value, opaque: OpaqueSubject) -> Option<Self> {
        let text = |name: &str| identifier[name].as_str().map(str::to_owned);
        let format = identifier["format"].as_str();
        let format = format.or_else(|| identifier["subject_type"].as_str());
        let user = |user: Option<String>| {
            Some(Self {
                user: Some(user?),
                session: None,
            })
        };
        match format.map(|format| format.replace('-', "_")).as_deref() {
            Some("iss_sub") => user(text("sub")),
            Some("email") => user(text("email")),
            Some("phone_number" | "phone") => user(text("phone_number").or_else(|| text("phone"))),
            Some("account") => user(text("uri")),
            Some("did") => user(text("url")),
            Some("opaque") => match opaque {
                OpaqueSubject::User => user(text("id")),
                OpaqueSubject::Session => Some(Self {
                    user: None,
                    session: Some(text("id")?),
                }),
            },
            Some("aliases") => {
                let mut identifiers = identifier["identifiers"].as_array()?.iter();
                identifiers.find_map(|one| Self::of(one, opaque))
            }
            // Members that are identifiers: `complex`, or without a format as in SSF 1.0.
            Some("complex") | None => {
                let of_user = Self::of(identifier.get("user")?, OpaqueSubject::User);
                let of_user = of_user.and_then(|subject| subject.user);
                let session = identifier.get("session");
                let session = session
                    .and_then(|session| Self::of(session, OpaqueSubject::Session))
                    .and_then(|subject| subject.session);
                (of_user.is_some() || session.is_some()).then_some(Self {
                    user: of_user,
                    session,
                })
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(kind: &str, sub_id: &Value, event: &Value) -> SecurityEventClaims {
        let claims = json!({
            "iss": "https://idp.example", "jti": "1", "iat": 1_700_000_000,
            "sub_id": sub_id, "events": {kind: event},
        });
        serde_json::from_value(claims).unwrap()
    }

    fn revoked(kind: &str, sub_id: &Value) -> Result<Value, String> {
        let event = json!({"event_timestamp": 1_600_000_000});
        let requested = claims(kind, sub_id, &event).requested(OpaqueSubject::User)?;
        let [revocation] = &requested.revocations[..] else {
            panic!("{requested:?}");
        };
        assert_eq!(revocation["activity_timestamp"], 1_600_000_000);
        assert_eq!(revocation["by"], "https://idp.example");
        Ok(revocation.clone())
    }

    #[test]
    fn each_type_revokes_what_its_subject_names() {
        let session = format!("{CAEP}session-revoked");
        let user = json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "42"});
        let both =
            json!({"format": "complex", "user": user, "session": {"format": "opaque", "id": "s"}});
        assert_eq!(revoked(&session, &both).unwrap()["session_id"], "s");
        assert_eq!(revoked(&session, &user).unwrap()["user_id"], "42");
        let email = json!({"format": "email", "email": "ann@example.com"});
        let aliases = json!({"format": "aliases", "identifiers": [{"format": "x"}, email]});
        for kind in [
            format!("{CAEP}credential-change"),
            format!("{RISC}account-disabled"),
            format!("{RISC}account-purged"),
            format!("{RISC}sessions-revoked"),
        ] {
            let revocation = revoked(&kind, &both).unwrap();
            assert_eq!(revocation["user_id"], "42");
            assert!(revocation.get("session_id").is_none());
            assert_eq!(
                revoked(&kind, &aliases).unwrap()["user_id"],
                "ann@example.com"
            );
        }
        let draft = json!({"subject_type": "iss-sub", "sub": "7"});
        let event = json!({"subject": draft});
        let kind = format!("{RISC}account-disabled");
        let mut claims = claims(&kind, &Value::Null, &event);
        claims.sub_id = None;
        let requested = claims.requested(OpaqueSubject::User).unwrap();
        assert_eq!(requested.revocations[0]["user_id"], "7");
        assert_eq!(
            requested.revocations[0]["activity_timestamp"],
            1_700_000_000
        );
        assert!(revoked(&kind, &json!({"format": "unknown"})).is_err());
    }

    #[test]
    fn verification_and_other_events_revoke_nothing() {
        let subject = json!({"format": "opaque", "id": "stream"});
        let state = json!({"state": "x"});
        let verification = claims(SSF_VERIFICATION, &subject, &state);
        let requested = verification.requested(OpaqueSubject::User).unwrap();
        assert!(requested.is_verification && requested.revocations.is_empty());
        let other = claims(&format!("{CAEP}device-compliance-change"), &subject, &state);
        assert_eq!(
            other.requested(OpaqueSubject::User).unwrap(),
            Requested::default()
        );
    }

    #[test]
    fn an_opaque_subject_is_what_the_transmitter_means() {
        let subject = json!({"format": "opaque", "id": "x"});
        let claims = claims(&format!("{CAEP}session-revoked"), &subject, &json!({}));
        for (opaque, field) in [
            (OpaqueSubject::User, "user_id"),
            (OpaqueSubject::Session, "session_id"),
        ] {
            let requested = claims.requested(opaque).unwrap();
            assert_eq!(requested.revocations[0][field], "x");
        }
    }
}
