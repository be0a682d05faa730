//! CloudEvents 1.0 in Kafka, in both content modes.
//!
//! `value` is the event as its JSON format has it: context attributes, and `data`.

use std::collections::{BTreeSet, HashMap};

use cel::common::types::{CelBytes, CelMap, CelMapKey, CelString};

use super::json;
use super::value::BoxedValue;
use crate::source::record::InputRecord;

/// Prefix of the headers of the binary content mode.
const PREFIX: &str = "ce_";
const CONTENT_TYPE: &str = "content-type";

/// Decodes an event.
pub(super) fn value<'a>(
    record: &'a InputRecord<'a>,
    bytes: &'a [u8],
    keep: Option<&BTreeSet<String>>,
) -> Result<BoxedValue<'a>, String> {
    let is_binary = record
        .headers
        .iter()
        .any(|(name, _)| name == "ce_specversion");
    if is_binary {
        return binary(record, bytes, keep);
    }
    if record.value.is_none() {
        return Err("neither a ce_specversion header nor a value: not a CloudEvent".to_owned());
    }
    // Removes what `keep` may, but not the field that marks a CloudEvent.
    #[derive(serde::Deserialize)]
    struct Version {
        specversion: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<Version>(bytes) {
        Ok(Version {
            specversion: Some(_),
        }) => json::value(bytes, keep),
        Ok(_) => {
            Err("neither a ce_specversion header nor a specversion: not a CloudEvent".to_owned())
        }
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

fn binary<'a>(
    record: &'a InputRecord<'a>,
    bytes: &'a [u8],
    keep: Option<&BTreeSet<String>>,
) -> Result<BoxedValue<'a>, String> {
    let kept = |name: &str| keep.is_none_or(|keep| keep.contains(name));
    let text = |value: &'a [u8]| str::from_utf8(value).ok();
    let headers = record.headers.iter();
    let known = headers.filter_map(|(name, value)| Some((name.as_str(), text(value.as_deref()?)?)));
    let mut fields: HashMap<CelMapKey<'a>, BoxedValue<'a>> = HashMap::new();
    let mut content_type = None;
    for (name, value) in known {
        let attribute = if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            content_type = Some(value);
            "datacontenttype"
        } else if let Some(attribute) = name.strip_prefix(PREFIX) {
            attribute
        } else {
            continue;
        };
        if kept(attribute) {
            fields.insert(CelMapKey::from(attribute), Box::new(CelString::from(value)));
        }
    }
    if record.value.is_some() && kept("data") {
        let data: BoxedValue<'a> = if content_type.is_none_or(is_json) {
            json::value(bytes, None)?
        } else {
            match str::from_utf8(bytes) {
                Ok(text) => Box::new(CelString::from(text)),
                Err(_) => Box::new(CelBytes::from(bytes)),
            }
        };
        fields.insert(CelMapKey::from("data"), data);
    }
    Ok(Box::new(CelMap::from(fields)))
}

/// Whether a media type is JSON (CloudEvents 1.0, section 3.1.1).
fn is_json(media_type: &str) -> bool {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}
