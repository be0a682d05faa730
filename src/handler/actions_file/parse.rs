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
use crate::handler::event::Triggers;
use crate::handler::fields::ActionConfigError;
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
    Redis(Box<redis::RedisConfig>),
    Smtp(Box<smtp::SmtpConfig>),
}

impl ActionConfig {
    /// Creates the action.
    pub(super) fn build(self) -> Result<NamedAction, ActionConfigError> {
        let ending = Triggers::default();
        let (name, on, action): (_, _, Arc<dyn Action>) = match self {
            Self::Log(config) => {
                let on = config.on.clone();
                (config.name.clone(), on, Arc::new(log::Log::from(config)))
            }
            Self::Webhook(config) => {
                let (name, on) = (config.name.clone(), config.on.clone());
                (name, on, Arc::new(webhook::Webhook::new(*config)?))
            }
            Self::OauthRevocation(config) => {
                let name = config.name.clone();
                let action = oauth_revocation::OauthRevocation::new(*config)?;
                (name, ending, Arc::new(action))
            }
            Self::OidcBackchannelLogout(config) => {
                let name = config.name.clone();
                let action = oidc_backchannel_logout::OidcBackchannelLogout::new(*config)?;
                (name, ending, Arc::new(action))
            }
            Self::SharedSignals(config) => {
                let name = config.name.clone();
                let action = shared_signals::SharedSignals::new(*config)?;
                (name, ending, Arc::new(action))
            }
            Self::Redis(config) => {
                let name = config.name.clone();
                (name, ending, Arc::new(redis::Redis::new(*config)?))
            }
            Self::Smtp(config) => {
                let (name, on) = (config.name.clone(), config.on.clone());
                (name, on, Arc::new(smtp::Smtp::new(*config)?))
            }
        };
        Ok(NamedAction { name, action, on })
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
