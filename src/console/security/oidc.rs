//! Logins at an OpenID provider: the authorization code flow of OpenID Connect Core 1.0, section 3.1, with
//! PKCE (RFC 7636).
//!
//! The provider's metadata and keys are fetched for each login, so that neither is ever outdated.

use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Validation, decode, decode_header};
use reqwest::{Client, RequestBuilder, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::logins::{Logout, ProviderUser};
use super::oidc_args::OidcArgs;
use super::role::{RoleRules, UserRole};
use crate::bounded::{self, MAX_SECRET_BYTES};
use crate::http::client::{client, describe};
use crate::http::signing_keys::{ALGORITHMS, fetch, fetch_keys, read, select};
use crate::http::token::constant_time_eq;

/// The path of the redirect URI.
pub const CALLBACK_PATH: &str = "/login/oidc/callback";
/// The path of the back-channel logout URI.
pub const BACK_CHANNEL_LOGOUT_PATH: &str = "/login/oidc/backchannel-logout";
/// What a logout token is (OpenID Connect Back-Channel Logout 1.0, section 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Bounds each request to the provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on a response of the provider, in bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// The claims that name a user, the best one first.
const NAMES: [&str; 3] = ["email", "preferred_username", "sub"];
/// Limit on the name of a user, in characters.
const MAX_NAME_CHARS: usize = 200;

/// The client of an OpenID provider.
#[derive(Debug)]
pub struct OidcClient {
    issuer: String,
    client_id: String,
    client_secret: String,
    redirect_uri: Url,
    scope: String,
    rules: RoleRules,
    client: Client,
}

/// What a browser keeps while its user is at the provider.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flow {
    /// In seconds since 1970.
    pub end: i64,
    state: String,
    nonce: String,
    verifier: String,
}

/// What the provider's redirection brings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Callback {
    state: String,
    code: String,
    error: String,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be used.
    #[error("the OpenID provider cannot be used: {0}")]
    Provider(String),
    /// The redirection belongs to no login of this browser.
    #[error("the login took too long or was begun in another browser: log in again")]
    NoFlow,
    #[error("the OpenID provider refused the login: {0}")]
    Refused(String),
    /// The provider's answer proves nothing.
    #[error("the OpenID provider's token is not valid: {0}")]
    Token(String),
    #[error("the user {0} has no role here: ask for one at the OpenID provider")]
    NoRole(String),
}

/// The provider's metadata (OpenID Connect Discovery 1.0, section 3).
#[derive(Debug, Deserialize)]
struct ProviderMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct IssuedTokens {
    id_token: String,
    access_token: String,
}

impl OidcClient {
    /// Creates a client from the flags; `None` if there is no provider.
    ///
    /// # Errors
    /// If a file cannot be read, the issuer is no URL, or the flags give no role to any user.
    pub fn new(args: &OidcArgs) -> anyhow::Result<Option<Self>> {
        let (Some(issuer), Some(client_id), Some(secret), Some(public_url)) = (
            &args.oidc_issuer,
            &args.oidc_client_id,
            &args.oidc_client_secret_file,
            &args.oidc_public_url,
        ) else {
            return Ok(None);
        };
        let url = Url::parse(issuer).context("check --oidc-issuer")?;
        let rules = RoleRules {
            claim: args.oidc_roles_claim.clone(),
            viewer: args.oidc_viewer.clone(),
            operator: args.oidc_operator.clone(),
            admin: args.oidc_admin.clone(),
        };
        let given = [&rules.viewer, &rules.operator, &rules.admin];
        ensure!(
            given.iter().any(|values| !values.is_empty()),
            "no user could log in: give roles with --oidc-viewer, --oidc-operator and --oidc-admin"
        );
        let text = bounded::read_text_file(secret, MAX_SECRET_BYTES);
        let text = text.with_context(|| {
            format!(
                "cannot read {}: check --oidc-client-secret-file",
                secret.display()
            )
        })?;
        let base = public_url.as_str().trim_end_matches('/');
        let scopes = args.oidc_scope.iter().map(String::as_str);
        let scopes: Vec<_> = std::iter::once("openid").chain(scopes).collect();
        Ok(Some(Self {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: text.trim().to_owned(),
            redirect_uri: Url::parse(&format!("{base}{CALLBACK_PATH}"))
                .context("check --oidc-public-url")?,
            scope: scopes.join(" "),
            rules,
            client: client(TIMEOUT, args.oidc_ca_file.as_deref(), url.host_str())
                .context("check --oidc-ca-file")?,
        }))
    }

    /// The client secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.client_secret
    }

    /// Whether browsers reach the console by TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.redirect_uri.scheme() == "https"
    }

    /// Begins a login that has to be finished by `end`. Returns where the browser goes, and what it
    /// keeps.
    ///
    /// # Errors
    /// [`OidcError::Provider`]
    pub async fn begin(&self, end: i64) -> Result<(Url, Flow), OidcError> {
        let metadata = self.metadata().await.map_err(OidcError::Provider)?;
        let random = || hex::encode(rand::random::<[u8; 32]>());
        let flow = Flow {
            end,
            state: random(),
            nonce: random(),
            verifier: random(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&flow.verifier));
        let mut url = endpoint(&metadata.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", self.redirect_uri.as_str())
            .append_pair("scope", &self.scope)
            .append_pair("state", &flow.state)
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok((url, flow))
    }

    /// Finishes a login.
    ///
    /// # Errors
    /// [`OidcError`]
    pub async fn finish(
        &self,
        flow: &Flow,
        callback: &Callback,
    ) -> Result<(ProviderUser, UserRole), OidcError> {
        if !constant_time_eq(flow.state.as_bytes(), callback.state.as_bytes()) {
            return Err(OidcError::NoFlow);
        }
        if !callback.error.is_empty() {
            let error: String = callback.error.chars().take(MAX_NAME_CHARS).collect();
            return Err(OidcError::Refused(error));
        }
        let metadata = self.metadata().await.map_err(OidcError::Provider)?;
        let tokens = self.exchange(&metadata, flow, &callback.code).await?;
        let mut claims = self.verify_login(&metadata, flow, &tokens.id_token).await?;
        if !self.rules.applies(&claims)
            && let Some(url) = &metadata.userinfo_endpoint
        {
            self.add_user_info(&endpoint(url)?, &tokens.access_token, &mut claims)
                .await?;
        }
        let text = |name: &str| claims.get(name)?.as_str();
        let name = NAMES.into_iter().find_map(text).unwrap_or_default();
        let user = ProviderUser {
            name: name.chars().take(MAX_NAME_CHARS).collect(),
            subject: text("sub").unwrap_or_default().to_owned(),
            session: text("sid").map(str::to_owned),
        };
        match self.rules.role(&claims) {
            Some(role) => Ok((user, role)),
            None => Err(OidcError::NoRole(user.name)),
        }
    }

    /// Verifies a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6), and returns what it
    /// ends.
    ///
    /// # Errors
    /// [`OidcError`]
    pub async fn verify_logout(&self, token: &str) -> Result<Logout, OidcError> {
        let metadata = self.metadata().await.map_err(OidcError::Provider)?;
        let claims = self.verify(&metadata, token, &["iss", "aud"]).await?;
        let event = claims.get("events").and_then(|all| all.get(LOGOUT_EVENT));
        if event.is_none() || claims.get("nonce").is_some() {
            return Err(OidcError::Token("it is no logout token".to_owned()));
        }
        let text = |name: &str| Some(claims.get(name)?.as_str()?.to_owned());
        let session = text("sid").map(Logout::ProviderSession);
        let logout = session.or_else(|| text("sub").map(Logout::ProviderSubject));
        logout.ok_or_else(|| OidcError::Token("it names no session and no user".to_owned()))
    }

    async fn metadata(&self) -> Result<ProviderMetadata, String> {
        let base = self.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"));
        let url = url.map_err(|error| error.to_string())?;
        let body = fetch(&self.client, &url, MAX_RESPONSE_BYTES).await?;
        let metadata: ProviderMetadata = serde_json::from_slice(&body)
            .map_err(|error| format!("{url} answered no metadata: {error}"))?;
        if metadata.issuer == self.issuer {
            Ok(metadata)
        } else {
            Err(format!(
                "it calls itself {}, not {}: check --oidc-issuer",
                metadata.issuer, self.issuer
            ))
        }
    }

    /// Exchanges a code for tokens.
    async fn exchange(
        &self,
        metadata: &ProviderMetadata,
        flow: &Flow,
        code: &str,
    ) -> Result<IssuedTokens, OidcError> {
        let url = endpoint(&metadata.token_endpoint)?;
        let request = self.client.post(url.clone());
        let request = self.authenticated(request, metadata, flow, code);
        let response = request.send().await.map_err(describe);
        let response = response.map_err(OidcError::Provider)?;
        let body = read(response, &url, MAX_RESPONSE_BYTES).await;
        let body = body.map_err(OidcError::Refused)?;
        serde_json::from_slice(&body)
            .map_err(|error| OidcError::Provider(format!("{url} answered no tokens: {error}")))
    }

    /// Adds the form and the client's secret to a token request, in a way that the provider takes.
    fn authenticated(
        &self,
        request: RequestBuilder,
        metadata: &ProviderMetadata,
        flow: &Flow,
        code: &str,
    ) -> RequestBuilder {
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let basic = methods.is_none_or(|all| all.iter().any(|one| one == "client_secret_basic"));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", self.redirect_uri.as_str())
            .append_pair("code_verifier", &flow.verifier);
        let (id, secret) = (&self.client_id, &self.client_secret);
        let request = if basic {
            // RFC 6749, section 2.3.1.
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let (id, secret): (String, String) = (encode(id), encode(secret));
            request.basic_auth(id, Some(secret))
        } else {
            form.append_pair("client_id", id)
                .append_pair("client_secret", secret);
            request
        };
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    /// Verifies an ID token (OpenID Connect Core 1.0, section 3.1.3.7), and returns its claims.
    async fn verify_login(
        &self,
        metadata: &ProviderMetadata,
        flow: &Flow,
        token: &str,
    ) -> Result<Value, OidcError> {
        let required = ["iss", "aud", "exp", "sub"];
        let claims = self.verify(metadata, token, &required).await?;
        let invalid = |error: &str| OidcError::Token(error.to_owned());
        let text = |name| claims.get(name).and_then(Value::as_str);
        let nonce = text("nonce").unwrap_or_default();
        if !constant_time_eq(nonce.as_bytes(), flow.nonce.as_bytes()) {
            return Err(invalid("it belongs to another login"));
        }
        if text("azp").is_some_and(|azp| azp != self.client_id) {
            return Err(invalid("it was issued to another client"));
        }
        Ok(claims)
    }

    /// Verifies the signature, the issuer and the audience of a token, and returns its claims.
    async fn verify(
        &self,
        metadata: &ProviderMetadata,
        token: &str,
        required: &[&str],
    ) -> Result<Value, OidcError> {
        let invalid = |error: &dyn std::fmt::Display| OidcError::Token(error.to_string());
        let header = decode_header(token).map_err(|error| invalid(&error))?;
        if !ALGORITHMS.contains(&header.alg) {
            let error = format!("the algorithm {:?} is not accepted", header.alg);
            return Err(OidcError::Token(error));
        }
        let url = endpoint(&metadata.jwks_uri)?;
        let keys = fetch_keys(&self.client, &url).await;
        let keys = keys.map_err(OidcError::Provider)?;
        let key = select(&keys, header.kid.as_deref());
        let key = key.ok_or_else(|| invalid(&"the provider does not publish its key"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.client_id]);
        validation.set_required_spec_claims(required);
        let claims = decode::<Value>(token, &key, &validation);
        claims
            .map(|verified| verified.claims)
            .map_err(|error| invalid(&error))
    }

    /// Adds the claims of the userinfo endpoint (section 5.3), which many providers keep out of ID tokens.
    async fn add_user_info(
        &self,
        url: &Url,
        access_token: &str,
        claims: &mut Value,
    ) -> Result<(), OidcError> {
        let request = self.client.get(url.clone()).bearer_auth(access_token);
        let response = request.send().await.map_err(describe);
        let response = response.map_err(OidcError::Provider)?;
        let body = read(response, url, MAX_RESPONSE_BYTES).await;
        let body = body.map_err(OidcError::Provider)?;
        let info: Value = serde_json::from_slice(&body)
            .map_err(|error| OidcError::Provider(format!("{url} answered no claims: {error}")))?;
        if info.get("sub") != claims.get("sub") {
            let error = "the userinfo endpoint answered for another user";
            return Err(OidcError::Token(error.to_owned()));
        }
        if let (Value::Object(claims), Value::Object(info)) = (claims, info) {
            for (name, value) in info {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }
}

/// Parses an address of the provider's metadata.
fn endpoint(url: &str) -> Result<Url, OidcError> {
    Url::parse(url).map_err(|error| OidcError::Provider(format!("its address {url}: {error}")))
}
