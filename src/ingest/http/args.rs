//! Flags of the HTTP port.

use std::path::PathBuf;

use clap::Args;

/// Flags of the HTTP port.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Listen address for POST /v1/events (session events over HTTP, with --http-tokens) and POST
    /// /v1/ssf/events (with --ssf-transmitters). With --http-tls-cert it speaks HTTPS; otherwise
    /// put TLS in front of it.
    #[arg(long, env = "SUNDOWN_HTTP_LISTEN", value_name = "HOST:PORT")]
    pub http_listen: Option<String>,

    /// PEM file of the server's certificate and its chain. A renewed one is used within seconds.
    #[arg(
        long,
        env = "SUNDOWN_HTTP_TLS_CERT",
        value_name = "FILE",
        requires = "http_tls_key"
    )]
    pub http_tls_cert: Option<PathBuf>,

    /// PEM file of that certificate's private key.
    #[arg(
        long,
        env = "SUNDOWN_HTTP_TLS_KEY",
        value_name = "FILE",
        requires = "http_tls_cert"
    )]
    pub http_tls_key: Option<PathBuf>,

    /// Folder of bearer tokens, one in each file; the file's name is the token's name in logs and
    /// metrics. Changes apply within seconds.
    #[arg(long, env = "SUNDOWN_HTTP_TOKENS", value_name = "DIR")]
    pub http_tokens: Option<PathBuf>,

    /// Folder of tokens for pages in browsers, which users can read: they may be in the query
    /// (?token=…), as beacons have no headers, come from an allowed origin, and write activity only.
    #[arg(
        long,
        env = "SUNDOWN_HTTP_PUBLIC_TOKENS",
        value_name = "DIR",
        requires = "http_allowed_origins"
    )]
    pub http_public_tokens: Option<PathBuf>,

    /// Origin whose pages may send events, such as https://shop.example. Repeatable.
    #[arg(
        long = "http-allowed-origin",
        env = "SUNDOWN_HTTP_ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub http_allowed_origins: Vec<String>,

    /// YAML file of the transmitters of Shared Signals whose events revoke sessions: POST
    /// /v1/ssf/events receives their tokens (RFC 8935).
    #[arg(
        long,
        env = "SUNDOWN_SSF_TRANSMITTERS",
        value_name = "FILE",
        requires = "http_listen"
    )]
    pub ssf_transmitters: Option<PathBuf>,

    /// Maximum size of a request's body in bytes.
    #[arg(long, env = "SUNDOWN_HTTP_MAX_BODY", default_value_t = 1 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=64 << 20))]
    pub http_max_body: u64,

    /// Maximum number of events a second with one token; beyond it, requests are answered with 429.
    #[arg(long, env = "SUNDOWN_HTTP_RATE_LIMIT", default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub http_rate_limit: u32,
}
