//! Keys that sign tokens, and their published public keys.

use std::collections::BTreeSet;
use std::fmt;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::error::{ActionError, Failure};
use crate::handler::fields::{ActionConfigError, ActionName, Literal};
use crate::handler::secret::SecretRef;

/// An element of `signingKeys` in the actions file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SigningKeyConfig {
    algorithm: KeyAlgorithm,
    /// The id that verifiers know the key by, instead of its thumbprint.
    kid: Option<Literal>,
    /// The private key, PEM.
    key: SecretRef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum KeyAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// The keys of an action. One signs; the others are published only. For key rotation, a new key
/// is published before it signs, and an old one after it has signed.
pub struct SigningKeys {
    signing: SigningKey,
    others: Vec<SigningKey>,
}

struct SigningKey {
    algorithm: Algorithm,
    private: EncodingKey,
    public: Jwk,
    /// The configured `kid`, or the RFC 7638 thumbprint of the public key, equal in all replicas.
    id: String,
}

impl SigningKeys {
    /// Reads the keys and signs with each once. The first key signs, or the first one of
    /// `algorithm`.
    ///
    /// # Errors
    /// [`ActionConfigError`] if there is none, one is not valid, or two have the same `kid`.
    pub fn read(
        action: &ActionName,
        configs: &[SigningKeyConfig],
        algorithm: Option<KeyAlgorithm>,
    ) -> Result<Self, ActionConfigError> {
        let read = |config| SigningKey::read(action, config);
        let mut others = configs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let ids: BTreeSet<_> = others.iter().map(|key| &key.id).collect();
        if ids.len() < others.len() {
            let problem = "two keys have the same kid";
            return Err(ActionConfigError::field(action, FIELD, problem));
        }
        let mut algorithms = configs.iter().map(|config| config.algorithm);
        let index = match algorithm {
            Some(wanted) => algorithms.position(|algorithm| algorithm == wanted),
            None => algorithms.next().map(|_| 0),
        };
        let Some(index) = index else {
            let problem = match algorithm {
                Some(wanted) => format!("has no key for {wanted:?}"),
                None => "needs at least one key".to_owned(),
            };
            return Err(ActionConfigError::field(action, FIELD, problem));
        };
        let signing = others.remove(index);
        Ok(Self { signing, others })
    }

    /// Signs a token with `claims` and the header `typ`.
    ///
    /// # Errors
    /// [`Failure::NotRendered`] if signing fails.
    pub fn sign(&self, token_type: &str, claims: &impl Serialize) -> Result<String, ActionError> {
        let signed = self.signing.sign(token_type, claims);
        signed.map_err(|error| {
            let reason = format!("cannot sign a token: {error}");
            ActionError::new(Failure::NotRendered, reason)
        })
    }

    /// The public keys.
    #[must_use]
    pub fn public(&self) -> Vec<Jwk> {
        let all = std::iter::once(&self.signing).chain(&self.others);
        all.map(|key| key.public.clone()).collect()
    }
}

const FIELD: &str = "signingKeys";

impl SigningKey {
    fn read(action: &ActionName, config: &SigningKeyConfig) -> Result<Self, ActionConfigError> {
        let secret = config.key.read_for(action, FIELD)?;
        let kid = config.kid.clone().map(Literal::into_string);
        let ready = Self::new(config.algorithm, kid, secret.expose());
        ready.map_err(|error| {
            let algorithm = config.algorithm;
            let problem = format!(
                "not a private key for {algorithm:?}: {error}; convert it to PEM, PKCS #8 with \
                 `openssl pkcs8 -topk8 -nocrypt`; RSA needs 2048 bits or more"
            );
            ActionConfigError::field(action, FIELD, problem)
        })
    }

    fn new(
        algorithm: KeyAlgorithm,
        kid: Option<String>,
        pem: &[u8],
    ) -> jsonwebtoken::errors::Result<Self> {
        let (algorithm, private) = match algorithm {
            KeyAlgorithm::RS256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)?),
            KeyAlgorithm::PS256 => (Algorithm::PS256, EncodingKey::from_rsa_pem(pem)?),
            KeyAlgorithm::ES256 => (Algorithm::ES256, EncodingKey::from_ec_pem(pem)?),
            KeyAlgorithm::EdDSA => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)?),
        };
        let mut public = Jwk::from_encoding_key(&private, algorithm)?;
        let id = match kid {
            Some(kid) => kid,
            None => public.thumbprint(ThumbprintHash::SHA256)?,
        };
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let key = Self {
            algorithm,
            private,
            public,
            id,
        };
        // Some defects of a key show only when it signs.
        key.sign("JWT", &serde_json::json!({}))?;
        Ok(key)
    }

    fn sign(
        &self,
        token_type: &str,
        claims: &impl Serialize,
    ) -> jsonwebtoken::errors::Result<String> {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(token_type.to_owned());
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.private)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKeys")
            .field(&self.signing.id)
            .finish()
    }
}
