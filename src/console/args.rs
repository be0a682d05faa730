//! Flags of `sundown console`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use super::proxy::BasePath;
use super::security::oidc_args::OidcArgs;
use crate::admin::AdminArgs;
use crate::kafka::args::TrackerGroupArgs;
use crate::session::Span;
use crate::session_lookup::AdminTokenArgs;
use crate::wire::duration;

/// Flags of `sundown console`.
#[derive(Args, Clone, Debug)]
pub struct ConsoleArgs {
    /// Listen address of the console. An address reachable from other machines requires
    /// --auth-token-file.
    #[arg(
        long,
        env = "SUNDOWN_CONSOLE_LISTEN",
        default_value = "127.0.0.1:9292",
        value_name = "HOST:PORT"
    )]
    pub listen: String,

    /// File with the token that users log in with to make changes, at least 16 characters.
    /// Without it, the console is read-only.
    #[arg(long, env = "SUNDOWN_AUTH_TOKEN_FILE", value_name = "FILE")]
    pub auth_token_file: Option<PathBuf>,

    /// The time without requests after which a login ends. Pages that update themselves make
    /// none.
    #[arg(
        long,
        env = "SUNDOWN_LOGIN_IDLE_TIMEOUT",
        default_value = "1h",
        value_name = "DURATION",
        value_parser = duration::parse
    )]
    pub login_idle_timeout: Span,

    /// Folder of bearer tokens of programs that may look at pages; each file is a token, whose
    /// name audit records contain.
    #[arg(long, env = "SUNDOWN_VIEWER_TOKENS", value_name = "FOLDER")]
    pub viewer_tokens: Option<PathBuf>,

    /// The same of programs that may also pause partitions and process dead letters.
    #[arg(long, env = "SUNDOWN_OPERATOR_TOKENS", value_name = "FOLDER")]
    pub operator_tokens: Option<PathBuf>,

    /// The same of programs that may also end sessions.
    #[arg(long, env = "SUNDOWN_ADMIN_TOKENS", value_name = "FOLDER")]
    pub admin_tokens: Option<PathBuf>,

    /// Allow reading without the token from other machines as well. Session ids are then
    /// visible to every client that can reach the port.
    #[arg(long, env = "SUNDOWN_ANONYMOUS_READ", requires = "auth_token_file")]
    pub anonymous_read: bool,

    /// Allowed value of the Host header; can be repeated. On a loopback address, localhost
    /// and loopback addresses are always allowed; elsewhere, every host is by default.
    #[arg(
        long,
        env = "SUNDOWN_ALLOWED_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub allowed_host: Vec<String>,

    /// Path under which a proxy serves the console, such as /sundown. The proxy may remove it
    /// from requests or not.
    #[arg(
        long,
        env = "SUNDOWN_BASE_PATH",
        default_value = "",
        hide_default_value = true,
        value_name = "PATH"
    )]
    pub base_path: BasePath,

    /// Address or network of a proxy whose X-Forwarded-For, X-Forwarded-Host and
    /// X-Forwarded-User headers are believed; can be repeated.
    #[arg(
        long,
        env = "SUNDOWN_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ',',
        value_parser = network
    )]
    pub trusted_proxy: Vec<IpNet>,

    /// Show pseudonyms instead of session ids, user ids and attributes. They stay the same
    /// until the console restarts.
    #[arg(long, env = "SUNDOWN_REDACT")]
    pub redact: bool,

    #[command(flatten)]
    pub oidc: OidcArgs,

    #[command(flatten)]
    pub trackers: TrackerGroupArgs,

    /// Consumer group of the handlers, without --topic-prefix.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "GROUP",
        hide_short_help = true
    )]
    pub handler_group: String,

    #[command(flatten)]
    pub admin: AdminArgs,

    #[command(flatten)]
    pub admin_token: AdminTokenArgs,
}

/// Parses a network, or an address as the network of itself.
fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| "use an address or a network such as 10.0.0.0/8".to_owned())
}
