//! The fields of a `redis` action.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::handler::action::http_client::default_timeout;
use crate::handler::event::Reasons;
use crate::handler::fields::{ActionName, Literal, duration, parsed, url_without_credentials};
use crate::handler::secret::SecretRef;
use crate::handler::template::Template;

/// A `redis` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedisConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub reasons: Reasons,
    /// The server, nodes of the cluster, or sentinels: `redis://host:port/db`, `rediss://` with
    /// TLS.
    pub(super) servers: Vec<RedisUrl>,
    /// Whether the servers are nodes of a cluster.
    #[serde(default)]
    pub(super) cluster: bool,
    /// The master to ask the servers for, which are sentinels.
    pub(super) sentinel: Option<SentinelConfig>,
    /// The user, instead of the default user.
    pub(super) username: Option<Literal>,
    pub(super) password: Option<SecretRef>,
    /// The keys to delete.
    pub(super) keys: Option<Vec<Template>>,
    pub(super) command: Option<DeleteCommand>,
    /// The layout of the store, instead of `keys`.
    pub(super) layout: Option<StoreLayout>,
    /// The namespace of the layout.
    pub(super) namespace: Option<Literal>,
    /// The id of the session in the store; by default that of the event.
    pub(super) session: Option<Template>,
    /// The user by whom the layout indexes sessions.
    pub(super) principal: Option<Template>,
    /// Bounds one attempt.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(super) timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SentinelConfig {
    /// The name by which the sentinels know the master.
    pub(super) master: Literal,
    /// The user of the sentinels, if they have users of their own.
    pub(super) username: Option<Literal>,
    pub(super) password: Option<SecretRef>,
}

#[derive(Debug)]
pub(super) struct RedisUrl(pub(super) Url);

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum DeleteCommand {
    /// Frees memory in the background, so that large values do not block the server.
    #[default]
    Unlink,
    Del,
}

/// The layout of a session store.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StoreLayout {
    SpringSessionIndexed,
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a URL", |text| {
            url_without_credentials(text, ["rediss", "redis"], "rediss://host:6379").map(Self)
        })
    }
}
