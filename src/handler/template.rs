//! Texts with gaps that events fill: `session:{{ session_id }}`.
//!
//! The language is Jinja (minijinja). An event that lacks what a gap asks for is an error
//! that names it: a token that is empty, or a mail to nobody, would be a logout that never
//! happened and looked as if it had.

use std::fmt;
use std::sync::Arc;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::action::error::ActionError;
use super::event::Event;
use super::fields::parsed;

const NAME: &str = "template";

/// A text with gaps.
#[derive(Clone)]
pub struct Template {
    environment: Arc<Environment<'static>>,
}

/// What an event has to fill gaps with: its fields, `attributes.<name>`, and `trigger`.
#[derive(Clone, Debug)]
pub struct TemplateContext(Value);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("tojson", |value: minijinja::Value| {
            serde_json::to_string(&value).map_err(|error| {
                minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())
            })
        });
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| format!("not a template: {error}"))?;
        let environment = Arc::new(environment);
        Ok(Self { environment })
    }

    /// The text with its gaps filled.
    ///
    /// # Errors
    /// [`ActionError::Permanent`] naming what the event lacks; also if the text comes out
    /// empty.
    pub fn fill(&self, facts: &TemplateContext) -> Result<String, ActionError> {
        let template = self.environment.get_template(NAME);
        let filled = template.and_then(|template| template.render(&facts.0));
        match filled {
            Ok(text) if text.is_empty() => Err(ActionError::permanent(
                "a template came out empty: the event has nothing to fill it with",
            )),
            Ok(text) => Ok(text),
            Err(error) => Err(ActionError::permanent(self.explain(&error, facts))),
        }
    }

    fn explain(&self, error: &minijinja::Error, facts: &TemplateContext) -> String {
        let missing = self.missing(facts);
        if error.kind() == ErrorKind::UndefinedError && !missing.is_empty() {
            return format!("the event has no {}", missing.join(" and no "));
        }
        format!("a template cannot be filled: {error}")
    }

    /// What is asked for that the event does not have.
    fn missing(&self, facts: &TemplateContext) -> Vec<String> {
        let Ok(template) = self.environment.get_template(NAME) else {
            return Vec::new();
        };
        let mut missing: Vec<_> = template
            .undeclared_variables(true)
            .into_iter()
            .filter(|path| !facts.have(path))
            .collect();
        missing.sort_unstable();
        missing
    }
}

impl TemplateContext {
    /// What `event` has. `user_id` is text here, also where it is a number: no digit of a
    /// long one is lost.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let fields = match event {
            Event::Ended(event) => serde_json::to_value(event),
            Event::Expiring(event) => serde_json::to_value(event),
        };
        let mut fields = match fields {
            Ok(Value::Object(fields)) => fields,
            // They are structs of plain fields.
            _ => Map::new(),
        };
        fields.retain(|_, value| !value.is_null());
        if let Some(literal) = event.user() {
            let text = serde_json::from_str::<String>(literal);
            let text = text.unwrap_or_else(|_| literal.to_owned());
            fields.insert("user_id".to_owned(), text.into());
        }
        fields.insert("trigger".to_owned(), event.trigger().as_str().into());
        Self(Value::Object(fields))
    }

    fn have(&self, path: &str) -> bool {
        let mut place = Some(&self.0);
        for step in path.split('.') {
            place = place.and_then(|place| place.get(step));
        }
        place.is_some()
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a template", Self::parse)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::event::Trigger;

    const ENDING: &str = r#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff",
        "session_id":"s-1","user_id":12345678901234567890123,"reason":"logout",
        "policy":{"name":"default","generation":0},"started_at":null,"last_activity":null,
        "ended_at":"2025-02-07T12:00:00.000Z","detected_at":"2025-02-07T12:00:00.000Z",
        "attributes":{"tenant":"ac\"me","none":""}}"#;

    fn fill(text: &str) -> Result<String, String> {
        let event = Trigger::Ending.read(ENDING.as_bytes()).unwrap();
        let filled = Template::parse(text)
            .unwrap()
            .fill(&TemplateContext::of(&event));
        filled.map_err(|error| error.to_string())
    }

    #[test]
    fn gaps_are_filled_with_fields_and_attributes() {
        assert_eq!(
            fill("{{ session_id }}/{{ policy.name }}/{{ attributes.tenant }}/{{ trigger }}"),
            Ok("s-1/default/ac\"me/ending".to_owned())
        );
        assert_eq!(
            fill("{{ user_id }}"),
            Ok("12345678901234567890123".to_owned())
        );
        assert_eq!(
            fill(r#"{"tenant": {{ attributes.tenant | tojson }}}"#),
            Ok(r#"{"tenant": "ac\"me"}"#.to_owned())
        );
        assert_eq!(
            fill("{{ attributes.client | default('web') }}"),
            Ok("web".to_owned())
        );
    }

    #[test]
    fn what_an_event_lacks_is_named() {
        for (text, named) in [
            ("{{ attributes.email }}", "attributes.email"),
            ("{{ started_at }}", "started_at"),
            ("{{ attributes.a }}{{ session_id }}", "attributes.a"),
            ("{{ nothing.at.all }}", "nothing.at.all"),
            ("{{ attributes.none }}", "empty"),
        ] {
            let error = fill(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{{ session_id", "{% if %}", "{{ session_id | shout }}{{ }}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
