//! The console's flags.

use std::path::PathBuf;

use clap::Args;

use crate::admin::AdminArgs;
use crate::session_lookup::AdminTokenArgs;

/// Flags of `sundown console`.
#[derive(Args, Clone, Debug)]
pub struct ConsoleArgs {
    /// Where to serve the pages. Beyond this machine only with --auth-token-file.
    #[arg(
        long,
        env = "SUNDOWN_CONSOLE_LISTEN",
        default_value = "127.0.0.1:9292",
        value_name = "HOST:PORT"
    )]
    pub listen: String,

    /// File with the token, of at least 16 characters, that whoever changes something has
    /// to give. Without it, the console changes nothing.
    #[arg(long, env = "SUNDOWN_AUTH_TOKEN_FILE", value_name = "FILE")]
    pub auth_token_file: Option<PathBuf>,

    /// Beyond this machine, let people read without the token too: whoever reaches the
    /// port then sees session ids.
    #[arg(long, env = "SUNDOWN_ANONYMOUS_READ", requires = "auth_token_file")]
    pub anonymous_read: bool,

    /// A host name under which the pages may be asked for; may be given several times.
    /// On loopback, localhost and loopback addresses are; elsewhere, without it, any.
    #[arg(
        long,
        env = "SUNDOWN_ALLOWED_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub allowed_host: Vec<String>,

    /// Show pseudonyms in place of session ids, user ids and attributes, the same ones
    /// until the console is restarted.
    #[arg(long, env = "SUNDOWN_REDACT")]
    pub redact: bool,

    /// The trackers' consumer group, behind the topic prefix.
    #[arg(
        long,
        env = "SUNDOWN_TRACKER_GROUP",
        default_value = "sundown-tracker",
        value_name = "NAME",
        hide_short_help = true
    )]
    pub tracker_group: String,

    /// The handlers' consumer group, behind the topic prefix.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "NAME",
        hide_short_help = true
    )]
    pub handler_group: String,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// For asking trackers about sessions.
    #[command(flatten)]
    pub admin_token: AdminTokenArgs,
}
