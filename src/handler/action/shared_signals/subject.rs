//! Subject identifiers (RFC 9493) made of templates.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::handler::action::error::ActionError;
use crate::handler::template::{Template, TemplateContext};

/// A tree of templates, as in `{format: opaque, id: '{{ user_id }}'}`.
#[derive(Clone, Debug)]
pub(super) enum SubjectTemplate {
    Text(Template),
    Members(BTreeMap<String, SubjectTemplate>),
}

impl SubjectTemplate {
    /// Returns whether the required member `format` is present.
    pub(super) fn has_format(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Members(members) => members.contains_key("format"),
        }
    }

    /// Renders the identifier of an event.
    pub(super) fn render(&self, context: &TemplateContext) -> Result<Value, ActionError> {
        match self {
            Self::Text(template) => template.render(context).map(Value::String),
            Self::Members(members) => members
                .iter()
                .map(|(name, member)| Ok((name.clone(), member.render(context)?)))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for SubjectTemplate {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        field.deserialize_any(SubjectVisitor)
    }
}

struct SubjectVisitor;

impl<'de> Visitor<'de> for SubjectVisitor {
    type Value = SubjectTemplate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("templates by name, as in {format: opaque, id: '{{ user_id }}'}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SubjectTemplate, E> {
        Template::parse(text)
            .map(SubjectTemplate::Text)
            .map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SubjectTemplate, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, member)) = map.next_entry()? {
            members.insert(name, member);
        }
        Ok(SubjectTemplate::Members(members))
    }
}
