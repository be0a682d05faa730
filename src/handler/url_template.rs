//! URLs whose path and query are templates.

use reqwest::Url;
use serde::{Deserialize, Deserializer};

use super::action::error::{ActionError, Failure};
use super::fields::{parsed, url_without_credentials};
use super::template::{Template, TemplateContext};

const SCHEMES: [&str; 2] = ["https", "http"];
const EXAMPLE: &str = "https://host/sessions/{{ session_id }}";
/// What begins a tag of a template, and what ends it.
const TAGS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];

/// A URL with a fixed scheme, host and port. Values in its path and query are percent-encoded.
#[derive(Clone, Debug)]
pub struct UrlTemplate {
    /// The URL up to the first tag.
    base: Url,
    /// `None` if the URL has no tags.
    template: Option<Template>,
}

impl UrlTemplate {
    /// Parses a URL.
    ///
    /// # Errors
    /// If it is not an `http` or `https` URL, contains credentials, or its scheme or host come
    /// from a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let literal = literal_text(text)?;
        let first = TAGS.iter().filter_map(|(start, _)| text.find(start)).min();
        let base = &text[..first.unwrap_or(text.len())];
        if first.is_some() && !has_authority(base) {
            return Err(format!(
                "scheme and host cannot come from a template; write it like {EXAMPLE}"
            ));
        }
        if has_dot_segment(&literal) {
            return Err("must not contain the path segments . and ..".to_owned());
        }
        Ok(Self {
            base: url_without_credentials(base, SCHEMES, EXAMPLE)?,
            template: first
                .map(|_| Template::percent_encoding(text))
                .transpose()?,
        })
    }

    /// The URL up to the first tag; with the scheme and host of all rendered URLs.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Renders the URL of an event.
    ///
    /// # Errors
    /// [`Failure::NotRendered`] or [`Failure::NotEncoded`] if the event lacks a field, a value is empty, or the path would
    /// lead elsewhere.
    pub fn render(&self, context: &TemplateContext) -> Result<Url, ActionError> {
        let Some(template) = &self.template else {
            return Ok(self.base.clone());
        };
        let text = template.render(context)?;
        // URL parsers resolve these, so that another resource would be addressed.
        if has_dot_segment(&text) {
            let reason = "a value in the URL is . or .., which would address another path";
            return Err(ActionError::new(Failure::NotEncoded, reason));
        }
        let problem = match Url::parse(&text) {
            Ok(url) if url.origin() == self.base.origin() => return Ok(url),
            Ok(_) => "the URL leads to another host".to_owned(),
            Err(error) => format!("not a URL: {error}"),
        };
        Err(ActionError::new(Failure::NotEncoded, problem))
    }
}

/// Returns the text without its tags.
fn literal_text(text: &str) -> Result<String, String> {
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        literal.push_str(&rest[..at]);
        let tag = &rest[at..];
        let kind = TAGS.iter().find(|(start, _)| tag.starts_with(start));
        let end = kind.and_then(|(_, end)| Some(tag.find(end)? + end.len()));
        let Some(end) = end else {
            return Err(
                "a brace opens no template; write a literal brace as %7B or %7D".to_owned(),
            );
        };
        rest = &tag[end..];
        // Stands for a value, so that the text around it is not taken for one segment.
        literal.push('x');
    }
    literal.push_str(rest);
    if literal.contains('}') {
        return Err("a brace closes no template; write a literal brace as %7B or %7D".to_owned());
    }
    Ok(literal)
}

/// Returns whether the text contains more than scheme and authority.
fn has_authority(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest);
    authority.is_some_and(|rest| rest.find(['/', '?', '#']).is_some_and(|at| at > 0))
}

fn has_dot_segment(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    })
}

impl<'de> Deserialize<'de> for UrlTemplate {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a URL", Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::event::Trigger;

    fn render(url: &str, session: &str) -> Result<String, String> {
        let ending = serde_json::json!({
            "event_id": "6f9619ff-8b86-5d01-b42d-00cf4fc964ff", "session_id": session,
            "user_id": 42, "reason": "logout", "policy": {"name": "default", "generation": 0},
            "started_at": null, "last_activity": null,
            "ended_at": "2025-02-07T12:00:00.000Z", "detected_at": "2025-02-07T12:00:00.000Z",
        });
        let event = Trigger::Ending.decode(ending.to_string().as_bytes());
        let context = TemplateContext::of(&event.unwrap());
        let rendered = UrlTemplate::parse(url)?.render(&context);
        rendered
            .map(|url| url.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_percent_encoded_in_path_and_query() {
        for (url, session, expected) in [
            ("https://h/s/{{ session_id }}", "a-1", "https://h/s/a-1"),
            (
                "https://h/s/{{ session_id }}?user={{ user_id }}",
                "a/b?c#d&e=f%2F\\g ü+",
                "https://h/s/a%2Fb%3Fc%23d%26e%3Df%252F%5Cg%20%C3%BC%2B?user=42",
            ),
            (
                "https://h/?id={{ session_id }}&x=1",
                "a&x=2",
                "https://h/?id=a%26x%3D2&x=1",
            ),
            (
                "https://h?id={{ session_id | safe }}",
                "&",
                "https://h/?id=%26",
            ),
            (
                "https://h:8443/fixed?a=%7B",
                "",
                "https://h:8443/fixed?a=%7B",
            ),
        ] {
            assert_eq!(render(url, session), Ok(expected.to_owned()), "{url}");
        }
    }

    #[test]
    fn a_value_cannot_address_another_path() {
        let url = "https://h/sessions/{{ session_id }}/x";
        for session in [".", "..", ""] {
            assert!(render(url, session).is_err(), "{session:?}");
        }
        assert!(render("https://h/{{ session_id }}./x", ".").is_err());
        assert_eq!(
            render(url, "..."),
            Ok("https://h/sessions/.../x".to_owned())
        );
    }

    #[test]
    fn scheme_and_host_are_fixed_and_lone_braces_are_rejected() {
        for (url, problem) in [
            ("{{ session_id }}", "scheme and host"),
            ("{{ session_id }}://host/", "scheme and host"),
            ("https://{{ session_id }}/", "scheme and host"),
            ("https://{{ session_id }}.example/", "scheme and host"),
            ("https://h{{ session_id }}/", "scheme and host"),
            ("https://h:{{ session_id }}/", "scheme and host"),
            ("https:///{{ session_id }}", "scheme and host"),
            ("https://u@h/{{ session_id }}", "user name"),
            ("https://h/{session_id}", "opens no template"),
            ("https://h/{{ session_id", "opens no template"),
            ("https://h/session_id}}", "closes no template"),
            ("https://h/{{ session_id }}/../x", "path segments"),
            ("ftp://h/{{ session_id }}", "must start with"),
            ("https://h/{{ }}", "not a template"),
        ] {
            let error = UrlTemplate::parse(url).unwrap_err();
            assert!(error.contains(problem), "{url}: {error}");
        }
    }
}
