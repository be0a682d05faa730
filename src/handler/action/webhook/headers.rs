//! `headers` of a webhook.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::handler::action::error::{ActionError, Failure};
use crate::handler::action::signature;
use crate::handler::fields::{ActionConfigError, ActionName};
use crate::handler::secret::SecretRef;
use crate::handler::template::{Template, TemplateContext};

/// The header by which receivers detect repeated deliveries.
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header with the CloudEvents type, which differs between endings and warnings.
pub(super) const EVENT_TYPE: &str = "Sundown-Event-Type";
const FIELD: &str = "headers";
/// Headers that HTTP clients set.
const CONNECTION_HEADERS: [HeaderName; 7] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Headers that the action sets, by which receivers detect repetitions and verify signatures.
const OWN_HEADERS: [&str; 5] = [
    IDEMPOTENCY_KEY,
    EVENT_TYPE,
    signature::ID,
    signature::TIMESTAMP,
    signature::SIGNATURE,
];

/// `headers` in the actions file.
pub(super) type HeaderConfigs = BTreeMap<String, HeaderConfig>;

/// A template, or a reference to a secret.
#[derive(Debug)]
pub(super) enum HeaderConfig {
    Template(Template),
    Secret(SecretRef),
}

/// The headers that each request carries.
#[derive(Debug)]
pub(super) struct HeaderTemplates(Vec<(HeaderName, HeaderTemplate)>);

#[derive(Debug)]
enum HeaderTemplate {
    Template(Template),
    Secret(HeaderValue),
}

impl HeaderTemplates {
    /// Reads the secrets.
    pub(super) fn read(
        action: &ActionName,
        configs: HeaderConfigs,
    ) -> Result<Self, ActionConfigError> {
        let problem = |problem: String| ActionConfigError::field(action, FIELD, problem);
        let mut headers = Vec::new();
        for (text, config) in configs {
            let name: HeaderName = text
                .parse()
                .map_err(|_| problem(format!("'{text}' is not a header name")))?;
            if name == CONTENT_TYPE {
                return Err(problem(format!("{text} is set by contentType")));
            }
            if CONNECTION_HEADERS.contains(&name)
                || OWN_HEADERS
                    .iter()
                    .any(|own| own.eq_ignore_ascii_case(&text))
            {
                return Err(problem(format!("{text} is set by the handler; remove it")));
            }
            let header = match config {
                HeaderConfig::Template(template) => HeaderTemplate::Template(template),
                HeaderConfig::Secret(reference) => {
                    let secret = reference.read_for(action, FIELD)?;
                    let mut value = HeaderValue::from_bytes(secret.expose()).map_err(|_| {
                        problem(format!("the secret of {text} has control characters"))
                    })?;
                    value.set_sensitive(true);
                    HeaderTemplate::Secret(value)
                }
            };
            headers.push((name, header));
        }
        Ok(Self(headers))
    }

    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// Returns whether a header is a secret or the `Authorization` header.
    pub(super) fn have_credentials(&self) -> bool {
        let secret =
            |(_, header): &(_, HeaderTemplate)| matches!(header, HeaderTemplate::Secret(_));
        self.contains(&AUTHORIZATION) || self.0.iter().any(secret)
    }

    pub(super) fn render(&self, context: &TemplateContext) -> Result<HeaderMap, ActionError> {
        let mut headers = HeaderMap::new();
        for (name, header) in &self.0 {
            let value = match header {
                HeaderTemplate::Template(template) => {
                    value(name.as_str(), &template.render(context)?)?
                }
                HeaderTemplate::Secret(value) => value.clone(),
            };
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// Inserts a header of the action.
pub(super) fn insert(
    headers: &mut HeaderMap,
    name: &'static str,
    text: &str,
) -> Result<(), ActionError> {
    let value = value(name, text)?;
    let name: HeaderName = name
        .parse()
        .map_err(|_| ActionError::new(Failure::NotEncoded, format!("{name} is not a header")))?;
    headers.insert(name, value);
    Ok(())
}

fn value(name: &str, text: &str) -> Result<HeaderValue, ActionError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        let reason = format!("the header {name} renders to a text with control characters");
        ActionError::new(Failure::NotEncoded, reason)
    })
}

impl<'de> Deserialize<'de> for HeaderConfig {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        field.deserialize_any(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = HeaderConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a template, or a secret as valueFrom: {env: NAME}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderConfig, E> {
        let template = Template::parse(text).map_err(E::custom)?;
        Ok(HeaderConfig::Template(template))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeaderConfig, A::Error> {
        SecretRef::deserialize(MapAccessDeserializer::new(map)).map(HeaderConfig::Secret)
    }
}
