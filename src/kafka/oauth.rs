//! SASL OAUTHBEARER: tokens by the client credentials grant of OAuth, which librdkafka requests
//! and renews.

use std::path::{Path, PathBuf};

use clap::Args;
use rdkafka::ClientConfig;

use super::connection_error::{ConnectionError, file_error, read_secret};
use super::trust;

/// The mechanism of SASL that takes tokens.
pub(super) const OAUTHBEARER: &str = "OAUTHBEARER";
/// What librdkafka's properties of tokens start with.
pub(super) const PROPERTY_PREFIX: &str = "sasl.oauthbearer.";

/// Flags of tokens.
#[derive(Args, Clone, Debug)]
pub struct OAuthArgs {
    /// Token endpoint for --sasl-mechanism OAUTHBEARER. Tokens are requested by the client
    /// credentials grant and have to be JWTs.
    #[arg(
        long,
        env = "SUNDOWN_OAUTH_TOKEN_URL",
        value_name = "URL",
        hide_short_help = true,
        global = true
    )]
    pub oauth_token_url: Option<String>,

    /// OAuth client id.
    #[arg(
        long,
        env = "SUNDOWN_OAUTH_CLIENT_ID",
        value_name = "ID",
        hide_short_help = true,
        global = true
    )]
    pub oauth_client_id: Option<String>,

    /// File with the OAuth client id, as an alternative to --oauth-client-id.
    #[arg(
        long,
        env = "SUNDOWN_OAUTH_CLIENT_ID_FILE",
        value_name = "FILE",
        conflicts_with = "oauth_client_id",
        hide_short_help = true,
        global = true
    )]
    pub oauth_client_id_file: Option<PathBuf>,

    /// File with the OAuth client secret. No flag or variable takes the secret itself.
    #[arg(
        long,
        env = "SUNDOWN_OAUTH_CLIENT_SECRET_FILE",
        value_name = "FILE",
        hide_short_help = true,
        global = true
    )]
    pub oauth_client_secret_file: Option<PathBuf>,

    /// OAuth scopes to request, separated by spaces.
    #[arg(
        long,
        env = "SUNDOWN_OAUTH_SCOPE",
        value_name = "SCOPE",
        hide_short_help = true,
        global = true
    )]
    pub oauth_scope: Option<String>,

    /// PEM file of CA certificates trusted for the token endpoint, or directory of *.crt and
    /// *.pem files. Defaults to the system's, or to SSL_CERT_FILE and SSL_CERT_DIR.
    #[arg(
        long,
        env = "SUNDOWN_OAUTH_CA_FILE",
        value_name = "FILE",
        hide_short_help = true,
        global = true
    )]
    pub oauth_ca_file: Option<PathBuf>,
}

impl OAuthArgs {
    /// The files whose contents the configuration depends on.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let files = [
            &self.oauth_client_id_file,
            &self.oauth_client_secret_file,
            &self.oauth_ca_file,
        ];
        files.into_iter().flatten()
    }

    /// Requests tokens. `by_properties` allows for flags that are missing because properties of
    /// librdkafka choose another way to tokens.
    ///
    /// # Errors
    /// [`ConnectionError`] if a flag is missing or a file cannot be read.
    pub(super) fn configure(
        &self,
        config: &mut ClientConfig,
        by_properties: bool,
    ) -> Result<(), ConnectionError> {
        let client_id = match &self.oauth_client_id_file {
            Some(file) => Some(read_secret(file, "--oauth-client-id-file")?),
            None => self.oauth_client_id.clone(),
        };
        let client_secret = self.oauth_client_secret_file.as_deref();
        let client_secret = client_secret
            .map(|file| read_secret(file, "--oauth-client-secret-file"))
            .transpose()?;
        let values = [
            (
                "token.endpoint.url",
                "--oauth-token-url",
                self.oauth_token_url.clone(),
            ),
            ("client.id", "--oauth-client-id", client_id),
            ("client.secret", "--oauth-client-secret-file", client_secret),
        ];
        config.set("sasl.oauthbearer.method", "oidc");
        for (property, flag, value) in values {
            match value {
                Some(value) => {
                    config.set(format!("{PROPERTY_PREFIX}{property}"), value);
                }
                None if by_properties => {}
                None => return Err(ConnectionError::NoOAuth { flag }),
            }
        }
        if let Some(scope) = &self.oauth_scope {
            config.set("sasl.oauthbearer.scope", scope);
        }
        let trusted = self.oauth_ca_file.as_deref();
        let file = |source| file_error(trusted.unwrap_or(Path::new("")), source, "--oauth-ca-file");
        trust::configure(config, trust::Peer::TokenEndpoint, trusted).map_err(file)
    }
}
