//! Flags of logins at an OpenID provider.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;

/// Flags of logins at an OpenID provider.
#[derive(Args, Clone, Debug)]
pub struct OidcArgs {
    /// Issuer of the OpenID provider at which users log in.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_ISSUER",
        value_name = "URL",
        requires_all = ["oidc_client_id", "oidc_client_secret_file", "oidc_public_url"]
    )]
    pub oidc_issuer: Option<String>,

    /// The console's client id at the provider.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_CLIENT_ID",
        value_name = "ID",
        requires = "oidc_issuer"
    )]
    pub oidc_client_id: Option<String>,

    /// File with the client secret. No flag or variable takes the secret itself.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_CLIENT_SECRET_FILE",
        value_name = "FILE",
        requires = "oidc_issuer"
    )]
    pub oidc_client_secret_file: Option<PathBuf>,

    /// URL of the console in browsers, with --base-path. Register URL/login/oidc/callback as the
    /// client's redirect URI.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_PUBLIC_URL",
        value_name = "URL",
        requires = "oidc_issuer"
    )]
    pub oidc_public_url: Option<Url>,

    /// Scopes to request besides openid, separated by commas.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_SCOPES",
        value_name = "SCOPE",
        value_delimiter = ',',
        requires = "oidc_issuer"
    )]
    pub oidc_scope: Vec<String>,

    /// Claim of the ID token or of the userinfo endpoint that gives roles: a name, or a path
    /// such as realm_access.roles.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_ROLES_CLAIM",
        value_name = "CLAIM",
        default_value = "groups"
    )]
    pub oidc_roles_claim: String,

    /// Value of that claim whose users may look at pages; can be repeated.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_VIEWERS",
        value_name = "VALUE",
        value_delimiter = ',',
        requires = "oidc_issuer"
    )]
    pub oidc_viewer: Vec<String>,

    /// Value of that claim whose users may also pause partitions and process dead letters; can
    /// be repeated.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_OPERATORS",
        value_name = "VALUE",
        value_delimiter = ',',
        requires = "oidc_issuer"
    )]
    pub oidc_operator: Vec<String>,

    /// Value of that claim whose users may also end sessions; can be repeated.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_ADMINS",
        value_name = "VALUE",
        value_delimiter = ',',
        requires = "oidc_issuer"
    )]
    pub oidc_admin: Vec<String>,

    /// PEM file of CA certificates trusted for the provider. Defaults to the system's.
    #[arg(
        long,
        env = "SUNDOWN_OIDC_CA_FILE",
        value_name = "FILE",
        requires = "oidc_issuer"
    )]
    pub oidc_ca_file: Option<PathBuf>,
}
