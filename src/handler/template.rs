//! Templates rendered with the fields of events: `session:{{ session_id }}`.
//!
//! The language is Jinja (minijinja). A field that the event lacks is an error that names the
//! field. With an empty token or recipient, an action would succeed without a logout.

use std::fmt;
use std::sync::Arc;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::action::error::{ActionError, Failure};
use super::event::TriggerEvent;
use super::fields::parsed;

const NAME: &str = "template";
/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Clone)]
pub struct Template {
    environment: Arc<Environment<'static>>,
}

/// The variables of templates: the fields of an event, `attributes.<name>`, and `trigger`.
#[derive(Clone, Debug)]
pub struct TemplateContext(Value);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// If it is not valid Jinja.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::in_environment(Environment::new(), text)
    }

    /// Parses a template whose values are percent-encoded, as one segment of a path or a value
    /// in a query. Empty values are an error: `/sessions/` is another resource than `/sessions/1`.
    ///
    /// # Errors
    /// If it is not valid Jinja.
    pub fn percent_encoding(text: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_formatter(|out, _, value| {
            let text = value.to_string();
            if text.is_empty() {
                let reason = "a value in the URL is empty";
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason));
            }
            let encoded = utf8_percent_encode(&text, RESERVED);
            out.write_fmt(format_args!("{encoded}")).map_err(Into::into)
        });
        Self::in_environment(environment, text)
    }

    fn in_environment(mut environment: Environment<'static>, text: &str) -> Result<Self, String> {
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

    /// Renders the template.
    ///
    /// # Errors
    /// [`Failure::NotRendered`] naming the fields that the event lacks, or if the result is
    /// empty.
    pub fn render(&self, context: &TemplateContext) -> Result<String, ActionError> {
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(&context.0));
        match rendered {
            Ok(text) if text.is_empty() => Err(ActionError::new(
                Failure::NotRendered,
                "a template rendered to an empty text: the fields of the event that it uses are empty",
            )),
            Ok(text) => Ok(text),
            Err(error) => Err(ActionError::new(
                Failure::NotRendered,
                self.describe(&error, context),
            )),
        }
    }

    fn describe(&self, error: &minijinja::Error, context: &TemplateContext) -> String {
        let missing = self.missing(context);
        if error.kind() == ErrorKind::UndefinedError && !missing.is_empty() {
            return format!("the event has no {}", missing.join(" and no "));
        }
        format!("a template cannot be rendered: {error}")
    }

    /// The variables of the template that the event lacks.
    fn missing(&self, context: &TemplateContext) -> Vec<String> {
        let Ok(template) = self.environment.get_template(NAME) else {
            return Vec::new();
        };
        let mut missing: Vec<_> = template
            .undeclared_variables(true)
            .into_iter()
            .filter(|path| !context.has(path))
            .collect();
        missing.sort_unstable();
        missing
    }
}

impl TemplateContext {
    /// Creates the context of an event. A `user_id` that is a number becomes text, so that long
    /// ones keep all digits.
    #[must_use]
    pub fn of(event: &TriggerEvent) -> Self {
        let fields = match event {
            TriggerEvent::Ended(event) => serde_json::to_value(event),
            TriggerEvent::Expiring(event) => serde_json::to_value(event),
        };
        let mut fields = match fields {
            Ok(Value::Object(fields)) => fields,
            // Structs of plain fields always serialize to objects.
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

    fn has(&self, path: &str) -> bool {
        let mut value = Some(&self.0);
        for name in path.split('.') {
            value = value.and_then(|value| value.get(name));
        }
        value.is_some()
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

    fn render(text: &str) -> Result<String, String> {
        let event = Trigger::Ending.decode(ENDING.as_bytes()).unwrap();
        let rendered = Template::parse(text)
            .unwrap()
            .render(&TemplateContext::of(&event));
        rendered.map_err(|error| error.to_string())
    }

    #[test]
    fn fields_and_attributes_are_rendered() {
        assert_eq!(
            render("{{ session_id }}/{{ policy.name }}/{{ attributes.tenant }}/{{ trigger }}"),
            Ok("s-1/default/ac\"me/ending".to_owned())
        );
        assert_eq!(
            render("{{ user_id }}"),
            Ok("12345678901234567890123".to_owned())
        );
        assert_eq!(
            render(r#"{"tenant": {{ attributes.tenant | tojson }}}"#),
            Ok(r#"{"tenant": "ac\"me"}"#.to_owned())
        );
        assert_eq!(
            render("{{ attributes.client | default('web') }}"),
            Ok("web".to_owned())
        );
    }

    #[test]
    fn a_field_that_the_event_lacks_is_named() {
        for (text, named) in [
            ("{{ attributes.email }}", "attributes.email"),
            ("{{ started_at }}", "started_at"),
            ("{{ attributes.a }}{{ session_id }}", "attributes.a"),
            ("{{ nothing.at.all }}", "nothing.at.all"),
            ("{{ attributes.none }}", "empty"),
        ] {
            let error = render(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn an_invalid_template_is_rejected() {
        for text in ["{{ session_id", "{% if %}", "{{ session_id | shout }}{{ }}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
