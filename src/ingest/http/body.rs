//! From the body of a request to session events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem::ApiProblem;
use crate::kafka::event_writer::Target;
use crate::session::EventKind;
use crate::wire::time;

/// Limit on the events of a request.
pub const MAX_EVENTS: usize = 10_000;

/// A session event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedEvent<'a> {
    pub target: Target,
    pub value: Cow<'a, str>,
    /// Whether it is the activity of one session.
    pub is_activity: bool,
}

/// How a body contains events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFormat {
    /// One event, or an array.
    Json,
    /// One event on each line.
    Lines,
    /// One CloudEvent, or an array, with the session event as data.
    CloudEvents,
}

/// A CloudEvent in the JSON format.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    specversion: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    time: Option<String>,
}

/// Decodes a body. All of its events have to be valid.
///
/// # Errors
/// [`ApiProblem`], with the number of the event.
pub fn events<'a>(
    content_type: Option<&str>,
    body: &'a [u8],
) -> Result<Vec<AcceptedEvent<'a>>, ApiProblem> {
    let text = str::from_utf8(body)
        .map_err(|error| ApiProblem::Invalid(format!("the body is not UTF-8: {error}")))?;
    let format = format(content_type, text)?;
    let parts = match format {
        BodyFormat::Json | BodyFormat::CloudEvents => json_parts(text)?,
        BodyFormat::Lines => text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(MAX_EVENTS + 1)
            .collect(),
    };
    if parts.is_empty() {
        return Err(ApiProblem::Invalid("the body has no event".to_owned()));
    }
    if parts.len() > MAX_EVENTS {
        let problem = format!("the body has more than {MAX_EVENTS} events: send several requests");
        return Err(ApiProblem::TooLarge(problem));
    }
    let accepted = (1..).zip(parts).map(|(number, part)| {
        let invalid = |problem: String| ApiProblem::Invalid(format!("event {number}: {problem}"));
        let value = match format {
            BodyFormat::CloudEvents => cloud_event_data(part).map_err(invalid)?,
            BodyFormat::Json | BodyFormat::Lines => Cow::Borrowed(part),
        };
        accept(value).map_err(invalid)
    });
    accepted.collect()
}

/// The format by the media type. Beacons are text/plain, and may have several lines.
fn format(content_type: Option<&str>, text: &str) -> Result<BodyFormat, ApiProblem> {
    let media_type = content_type.unwrap_or("application/json");
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    Ok(match media_type.to_ascii_lowercase().as_str() {
        "application/json" => BodyFormat::Json,
        "application/x-ndjson" | "application/jsonl" => BodyFormat::Lines,
        "application/cloudevents+json" | "application/cloudevents-batch+json" => {
            BodyFormat::CloudEvents
        }
        "text/plain" if text.trim_start().starts_with('[') => BodyFormat::Json,
        "text/plain" => BodyFormat::Lines,
        _ => return Err(ApiProblem::UnsupportedType(media_type.to_owned())),
    })
}

fn json_parts(text: &str) -> Result<Vec<&str>, ApiProblem> {
    let invalid = |error| ApiProblem::Invalid(format!("the body is not JSON: {error}"));
    if text.trim_start().starts_with('[') {
        let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
        return Ok(parts.into_iter().map(RawValue::get).collect());
    }
    let part: &RawValue = serde_json::from_str(text).map_err(invalid)?;
    Ok(vec![part.get()])
}

/// The data of a CloudEvent, with its time if it has none of its own.
fn cloud_event_data(text: &str) -> Result<Cow<'_, str>, String> {
    let event: CloudEvent<'_> =
        serde_json::from_str(text).map_err(|error| format!("not a CloudEvent: {error}"))?;
    if event.specversion.is_none() {
        return Err("not a CloudEvent: it has no specversion".to_owned());
    }
    let data = event.data.ok_or("the CloudEvent has no data")?.get();
    let Some(time) = event.time else {
        return Ok(Cow::Borrowed(data));
    };
    if time::parse(&time).is_none() {
        return Err("the time of the CloudEvent is not in RFC 3339".to_owned());
    }
    #[derive(Deserialize)]
    struct Time {
        activity_timestamp: Option<serde::de::IgnoredAny>,
    }
    let own: Time =
        serde_json::from_str(data).map_err(|error| format!("its data is no event: {error}"))?;
    if own.activity_timestamp.is_some() {
        return Ok(Cow::Borrowed(data));
    }
    let inner = data.trim_start().trim_start_matches('{').trim_start();
    let comma = if inner.starts_with('}') { "" } else { "," };
    Ok(Cow::Owned(format!(
        r#"{{"activity_timestamp":"{time}"{comma}{inner}"#
    )))
}

fn accept(value: Cow<'_, str>) -> Result<AcceptedEvent<'_>, String> {
    let decoded = Target::with_kind(value.as_bytes());
    let (target, kind) = decoded.map_err(|error| error.to_string())?;
    Ok(AcceptedEvent {
        target,
        value,
        is_activity: kind == EventKind::Activity,
    })
}
