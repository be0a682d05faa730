//! Subject identifiers (RFC 9493) with gaps.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::handler::action::error::ActionError;
use crate::handler::template::{Template, TemplateContext};

/// A tree of templates, as in `{format: opaque, id: '{{ user_id }}'}`.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Text(Template),
    Members(BTreeMap<String, Subject>),
}

impl Subject {
    /// Whether it says which identifiers it is made of.
    pub(super) fn has_format(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Members(members) => members.contains_key("format"),
        }
    }

    /// The identifier of an event.
    pub(super) fn fill(&self, facts: &TemplateContext) -> Result<Value, ActionError> {
        match self {
            Self::Text(template) => template.fill(facts).map(Value::String),
            Self::Members(members) => members
                .iter()
                .map(|(name, member)| Ok((name.clone(), member.fill(facts)?)))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        field.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Subject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("templates by name, as in {format: opaque, id: '{{ user_id }}'}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Subject, E> {
        Template::parse(text).map(Subject::Text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Subject, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, member)) = map.next_entry()? {
            members.insert(name, member);
        }
        Ok(Subject::Members(members))
    }
}
