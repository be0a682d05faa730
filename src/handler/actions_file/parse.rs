//! Parses the actions file.
//!
//! The file is parsed twice. The first pass finds the type of each action; the second one
//! deserializes each action as its type, directly from the text, so that errors name line and
//! field. (Serde's tagged enums deserialize through a buffer, which loses both.)

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::action::named::NamedAction;
use crate::handler::action::{
    Action, log, oauth_revocation, oidc_backchannel_logout, redis, shared_signals, smtp, webhook,
};
use crate::handler::event::{Reasons, Triggers};
use crate::handler::fields::{ActionConfigError, ActionName};
use crate::handler::retry::RetryPolicy;

#[derive(Debug)]
pub(super) struct ActionsFile {
    pub(super) actions: Vec<ActionConfig>,
    pub(super) retry: RetryPolicy,
}

#[derive(Debug)]
pub(super) enum ActionConfig {
    Log(log::LogConfig),
    Webhook(Box<webhook::WebhookConfig>),
    OauthRevocation(Box<oauth_revocation::OauthRevocationConfig>),
    OidcBackchannelLogout(Box<oidc_backchannel_logout::OidcBackchannelLogoutConfig>),
    SharedSignals(Box<shared_signals::SharedSignalsConfig>),
    Redis(Box<redis::config::RedisConfig>),
    Smtp(Box<smtp::SmtpConfig>),
}

impl ActionConfig {
    /// Creates the action.
    pub(super) fn build(self) -> Result<NamedAction, ActionConfigError> {
        let (name, on, reasons) = self.selection();
        let action: Arc<dyn Action> = match self {
            Self::Log(config) => Arc::new(log::Log::from(config)),
            Self::Webhook(config) => Arc::new(webhook::Webhook::new(*config)?),
            Self::OauthRevocation(config) => {
                Arc::new(oauth_revocation::OauthRevocation::new(*config)?)
            }
            Self::OidcBackchannelLogout(config) => Arc::new(
                oidc_backchannel_logout::OidcBackchannelLogout::new(*config)?,
            ),
            Self::SharedSignals(config) => Arc::new(shared_signals::SharedSignals::new(*config)?),
            Self::Redis(config) => Arc::new(redis::Redis::new(*config)?),
            Self::Smtp(config) => Arc::new(smtp::Smtp::new(*config)?),
        };
        Ok(NamedAction {
            name,
            action,
            on,
            reasons,
        })
    }

    /// The name of the action, and the events for which it runs.
    fn selection(&self) -> (ActionName, Triggers, Reasons) {
        let ending = Triggers::default();
        let (name, on, reasons) = match self {
            Self::Log(config) => (&config.name, &config.on, &config.reasons),
            Self::Webhook(config) => (&config.name, &config.on, &config.reasons),
            Self::OauthRevocation(config) => (&config.name, &ending, &config.reasons),
            Self::OidcBackchannelLogout(config) => (&config.name, &ending, &config.reasons),
            Self::SharedSignals(config) => (&config.name, &ending, &config.reasons),
            Self::Redis(config) => (&config.name, &ending, &config.reasons),
            Self::Smtp(config) => (&config.name, &config.on, &config.reasons),
        };
        (name.clone(), on.clone(), reasons.clone())
    }
}

impl ActionsFile {
    pub(super) fn parse(text: &str) -> Result<Self, serde_yaml::Error> {
        let outline: FileOutline = serde_yaml::from_str(text)?;
        let types = outline.actions.into_iter();
        let types = types.map(|head| head.action_type).collect();
        let document = serde_yaml::Deserializer::from_str(text);
        Ok(Self {
            actions: document.deserialize_map(ActionsSeed(types))?,
            retry: outline.retry,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOutline {
    actions: Vec<ActionHead>,
    #[serde(default)]
    retry: RetryPolicy,
}

#[derive(Deserialize)]
struct ActionHead {
    #[serde(rename = "type")]
    action_type: ActionType,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ActionType {
    Log,
    Webhook,
    OauthRevocation,
    OidcBackchannelLogout,
    SharedSignals,
    Redis,
    Smtp,
}

impl<'de> DeserializeSeed<'de> for ActionType {
    type Value = ActionConfig;

    fn deserialize<D: Deserializer<'de>>(self, action: D) -> Result<ActionConfig, D::Error> {
        Ok(match self {
            Self::Log => ActionConfig::Log(Deserialize::deserialize(action)?),
            Self::Webhook => ActionConfig::Webhook(Deserialize::deserialize(action)?),
            Self::OauthRevocation => {
                ActionConfig::OauthRevocation(Deserialize::deserialize(action)?)
            }
            Self::OidcBackchannelLogout => {
                ActionConfig::OidcBackchannelLogout(Deserialize::deserialize(action)?)
            }
            Self::SharedSignals => ActionConfig::SharedSignals(Deserialize::deserialize(action)?),
            Self::Redis => ActionConfig::Redis(Deserialize::deserialize(action)?),
            Self::Smtp => ActionConfig::Smtp(Deserialize::deserialize(action)?),
        })
    }
}

/// Deserializes the actions of a file, given their types.
struct ActionsSeed(Vec<ActionType>);

impl<'de> Visitor<'de> for ActionsSeed {
    type Value = Vec<ActionConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of actions")
    }

    /// Visits the whole file. The first pass has validated everything but the actions.
    fn visit_map<A: MapAccess<'de>>(self, mut file: A) -> Result<Self::Value, A::Error> {
        let mut actions = Vec::new();
        let mut seed = Some(self);
        while let Some(key) = file.next_key::<String>()? {
            match seed.take_if(|_| key == "actions") {
                Some(seed) => actions = file.next_value_seed(seed)?,
                None => drop(file.next_value::<IgnoredAny>()?),
            }
        }
        Ok(actions)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut actions = Vec::with_capacity(self.0.len());
        for action_type in self.0 {
            actions.extend(list.next_element_seed(action_type)?);
        }
        Ok(actions)
    }
}

impl<'de> DeserializeSeed<'de> for ActionsSeed {
    type Value = Vec<ActionConfig>;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Self::Value, D::Error> {
        list.deserialize_seq(self)
    }
}
