//! The actions file as it is written.
//!
//! It is read twice. The first time tells of which kind each action is; the second time
//! each is read as just that, straight from the text, so that errors name the very line
//! and field. (Serde's own tagged enums read into a buffer, which knows of neither.)

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

/// The file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) actions: Vec<ActionConfig>,
    pub(super) retry: RetryPolicy,
}

/// One action of it.
#[derive(Debug)]
pub(super) enum ActionConfig {
    Log(log::Config),
    Webhook(Box<webhook::Config>),
    OauthRevocation(Box<oauth_revocation::Config>),
    OidcBackchannelLogout(Box<oidc_backchannel_logout::Config>),
    SharedSignals(Box<shared_signals::Config>),
    Redis(Box<redis::Config>),
    Smtp(Box<smtp::Config>),
}

impl ActionConfig {
    /// Makes the action ready to run.
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

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, serde_yaml::Error> {
        let outline: Outline = serde_yaml::from_str(text)?;
        let kinds = outline.actions.into_iter().map(|head| head.kind).collect();
        let document = serde_yaml::Deserializer::from_str(text);
        Ok(Self {
            actions: document.deserialize_map(ActionsOf(kinds))?,
            retry: outline.retry,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline {
    actions: Vec<Head>,
    #[serde(default)]
    retry: RetryPolicy,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Log,
    Webhook,
    OauthRevocation,
    OidcBackchannelLogout,
    SharedSignals,
    Redis,
    Smtp,
}

impl<'de> DeserializeSeed<'de> for Kind {
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

/// The actions of a file, given their kinds.
struct ActionsOf(Vec<Kind>);

impl<'de> Visitor<'de> for ActionsOf {
    type Value = Vec<ActionConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of actions")
    }

    /// The file itself: its outline has been checked, only the actions are of interest.
    fn visit_map<A: MapAccess<'de>>(self, mut file: A) -> Result<Self::Value, A::Error> {
        let mut actions = Vec::new();
        let mut kinds = Some(self);
        while let Some(key) = file.next_key::<String>()? {
            match kinds.take_if(|_| key == "actions") {
                Some(kinds) => actions = file.next_value_seed(kinds)?,
                None => drop(file.next_value::<IgnoredAny>()?),
            }
        }
        Ok(actions)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut actions = Vec::with_capacity(self.0.len());
        for kind in self.0 {
            actions.extend(list.next_element_seed(kind)?);
        }
        Ok(actions)
    }
}

impl<'de> DeserializeSeed<'de> for ActionsOf {
    type Value = Vec<ActionConfig>;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Self::Value, D::Error> {
        list.deserialize_seq(self)
    }
}
