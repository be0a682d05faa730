//! Session events from the results of expressions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelOptional, CelString, CelUInt};
use cel::common::value::Val;
use chrono::DateTime;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::time;

/// The format of times in Common Log Format, as in `07/Feb/2025:12:00:00 +0100`.
const COMMON_LOG_TIME: &str = "%d/%b/%Y:%H:%M:%S %z";

/// A session event, with JSON literals as the expressions returned them.
#[derive(Debug, Default, Serialize)]
pub(super) struct EventFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) activity_timestamp: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attributes: BTreeMap<String, String>,
}

/// The content of an optional, and any other value as it is; `None` for null and empty optionals.
pub(super) fn present<'b>(value: &'b (dyn Val + 'b)) -> Option<&'b (dyn Val + 'b)> {
    if value.downcast_ref::<CelNull>().is_some() {
        return None;
    }
    match value.downcast_ref::<CelOptional<'_>>() {
        Some(optional) => optional.option().and_then(present),
        None => Some(value),
    }
}

/// A text, or the digits of a whole number.
pub(super) fn id(value: &dyn Val) -> Result<String, String> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(text.inner().to_owned());
    }
    whole_number(value).ok_or_else(|| wrong_type(value, "a string or a whole number"))
}

/// A JSON string, or a whole number.
pub(super) fn user(value: &dyn Val) -> Result<Box<RawValue>, String> {
    let literal = match value.downcast_ref::<CelString<'_>>() {
        Some(text) => quoted(text.inner()),
        None => whole_number(value).and_then(raw),
    };
    literal.ok_or_else(|| wrong_type(value, "a string or a whole number"))
}

/// A JSON string or number that session events may have as their time.
pub(super) fn timestamp(value: &dyn Val) -> Result<Box<RawValue>, String> {
    let literal = if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        quoted(&rfc3339(text.inner()))
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        serde_json::value::to_raw_value(number.inner()).ok()
    } else {
        whole_number(value).and_then(raw)
    };
    literal.ok_or_else(|| wrong_type(value, "a string or a number"))
}

/// A string.
pub(super) fn text(value: &dyn Val) -> Result<String, String> {
    match value.downcast_ref::<CelString<'_>>() {
        Some(text) => Ok(text.inner().to_owned()),
        None => Err(wrong_type(value, "a string")),
    }
}

/// A string, number or boolean as text; `None` for other types.
pub(super) fn attribute(value: &dyn Val) -> Option<String> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Some(text.inner().to_owned());
    }
    if let Some(boolean) = value.downcast_ref::<CelBool>() {
        return Some(boolean.inner().to_string());
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        return Some(number.inner().to_string());
    }
    whole_number(value)
}

/// The problem of a value that is not `expected`.
pub(super) fn wrong_type(value: &dyn Val, expected: &str) -> String {
    let found = value.get_type().name().to_owned();
    format!("returned {found}, not {expected}")
}

fn whole_number(value: &dyn Val) -> Option<String> {
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Some(number.inner().to_string());
    }
    let number = value.downcast_ref::<CelUInt>()?;
    Some(number.inner().to_string())
}

/// Converts the time of an access log.
fn rfc3339(text: &str) -> Cow<'_, str> {
    match DateTime::parse_from_str(text, COMMON_LOG_TIME) {
        Ok(at) => {
            let at = crate::session::Timestamp::from_millis(at.timestamp_millis());
            Cow::Owned(time::format(at))
        }
        Err(_) => Cow::Borrowed(text),
    }
}

fn quoted(text: &str) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(text).ok()
}

fn raw(number: String) -> Option<Box<RawValue>> {
    RawValue::from_string(number).ok()
}
