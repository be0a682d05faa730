//! Verifies security event tokens (RFC 8417).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use super::events::SecurityEventClaims;
use super::transmitters::{SigningKeyError, Transmitter};
use crate::http::signing_keys::ALGORITHMS;

/// The `typ` of tokens, which distinguishes them from others that the issuer signs (RFC 8417, section 2.3).
const TYPE: &str = "secevent+jwt";
/// Why a token is refused, by the codes of RFC 8935, section 2.4.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Key(String),
    #[error("no transmitter has the issuer {0}")]
    Issuer(String),
    #[error("the token is not for this receiver: its aud does not contain {0}")]
    Audience(String),
    /// The transmitter's keys cannot be fetched; the token may be sent again.
    #[error("{0}")]
    Unavailable(String),
}

impl TokenProblem {
    /// The code; `None` if the token is to be sent again.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Invalid(_) => Some("invalid_request"),
            Self::Key(_) => Some("invalid_key"),
            Self::Issuer(_) => Some("invalid_issuer"),
            Self::Audience(_) => Some("invalid_audience"),
            Self::Unavailable(_) => None,
        }
    }
}

/// Verifies a token, and returns its transmitter and its claims.
///
/// # Errors
/// [`TokenProblem`]
pub async fn verify<'t>(
    token: &str,
    transmitters: &'t [Transmitter],
) -> Result<(&'t Transmitter, SecurityEventClaims), TokenProblem> {
    let invalid = |problem: &str| TokenProblem::Invalid(problem.to_owned());
    let header = decode_header(token).map_err(|_| invalid("the body is not a signed JWT"))?;
    let kind = header
        .typ
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if kind.strip_prefix("application/").unwrap_or(&kind) != TYPE {
        return Err(invalid("the typ of the token is not secevent+jwt"));
    }
    if !ALGORITHMS.contains(&header.alg) {
        let problem = format!("the algorithm {:?} is not accepted", header.alg);
        return Err(TokenProblem::Key(problem));
    }
    let issuer = issuer(token).ok_or_else(|| invalid("the token has no iss"))?;
    let transmitter = transmitters.iter().find(|one| one.issuer == issuer);
    let transmitter = transmitter.ok_or(TokenProblem::Issuer(issuer))?;
    let key = transmitter.key(header.kid.as_deref()).await;
    let key = key.map_err(|error| match error {
        SigningKeyError::Unknown(_) => TokenProblem::Key(error.to_string()),
        SigningKeyError::Unavailable(_) => TokenProblem::Unavailable(error.to_string()),
    })?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[&transmitter.issuer]);
    validation.set_audience(&[&transmitter.audience]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    let verified = decode::<SecurityEventClaims>(token, &key, &validation);
    match verified {
        Ok(verified) => Ok((transmitter, verified.claims)),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidAudience => TokenProblem::Audience(transmitter.audience.clone()),
            ErrorKind::InvalidIssuer => TokenProblem::Issuer(transmitter.issuer.clone()),
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => {
                TokenProblem::Key("the signature is not valid".to_owned())
            }
            _ => TokenProblem::Invalid(format!("the claims are invalid: {error}")),
        }),
    }
}

/// The issuer that a token claims, to find the keys to verify it with.
fn issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Unverified {
        iss: String,
    }
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Unverified = serde_json::from_slice(&payload).ok()?;
    Some(claims.iss)
}
