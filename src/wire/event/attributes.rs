//! Decodes the attributes of a session event. No attribute makes its event unusable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::AddAssign;

use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::session::Attributes;

/// How many attributes of an event were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedAttributes {
    /// Attributes whose value is an object, an array or no valid text.
    pub unusable: u32,
    /// Attributes beyond the limit, the largest first.
    pub too_large: u32,
}

impl DroppedAttributes {
    /// Returns whether any attribute was dropped.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl AddAssign for DroppedAttributes {
    fn add_assign(&mut self, other: Self) {
        self.unusable = self.unusable.saturating_add(other.unusable);
        self.too_large = self.too_large.saturating_add(other.too_large);
    }
}

/// A string that serde borrows if it can, also as the key of a map.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JsonString<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Decodes a map of attributes: strings, and numbers and booleans as text. Drops `null`, and what
/// is unusable or does not fit into `max_bytes`.
pub(super) fn decode(literal: &str, max_bytes: usize) -> (Option<Attributes>, DroppedAttributes) {
    let mut dropped = DroppedAttributes::default();
    let map = match serde_json::from_str::<BTreeMap<JsonString<'_>, &RawValue>>(literal) {
        Ok(map) => map,
        // PHP encodes an empty map as an empty array.
        Err(_) if is_empty_array(literal) => BTreeMap::new(),
        Err(_) => {
            dropped.unusable = 1;
            return (None, dropped);
        }
    };
    let mut pairs = Vec::with_capacity(map.len());
    for (JsonString(name), value) in map {
        match scalar(value.get()) {
            Ok(Some(text)) => pairs.push((name, text)),
            Ok(None) => {}
            Err(NotScalar) => dropped.unusable = dropped.unusable.saturating_add(1),
        }
    }
    dropped.too_large = truncate(&mut pairs, max_bytes);
    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(name, text)| (Box::from(&*name), Box::from(&*text)));
    match Attributes::new::<Box<str>, Box<str>>(pairs) {
        Ok(attributes) => (Some(attributes), dropped),
        // `max_bytes` is at most the limit of the session core.
        Err(_) => {
            dropped.too_large = dropped.too_large.saturating_add(1);
            (None, dropped)
        }
    }
}

/// The value is an object, an array or a string that is not Unicode.
pub(super) struct NotScalar;

/// Returns a string, number or boolean as text; `None` for `null`.
pub(super) fn scalar(literal: &str) -> Result<Option<Cow<'_, str>>, NotScalar> {
    match literal.as_bytes().first() {
        Some(b'"') => unescape(literal).map(Some).map_err(|_| NotScalar),
        Some(b'n') => Ok(None),
        Some(b'{' | b'[') | None => Err(NotScalar),
        Some(_) => Ok(Some(Cow::Borrowed(literal))),
    }
}

/// Unescapes a string literal.
pub(super) fn unescape(literal: &str) -> serde_json::Result<Cow<'_, str>> {
    let content = literal.get(1..literal.len() - 1).unwrap_or_default();
    if memchr(b'\\', content.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(content));
    }
    serde_json::from_str(literal).map(Cow::Owned)
}

/// Drops the largest pairs until the others have at most `max_bytes`; returns how many.
fn truncate(pairs: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>, max_bytes: usize) -> u32 {
    let size = |(name, text): &(Cow<'_, str>, Cow<'_, str>)| name.len() + text.len();
    let mut bytes: usize = pairs.iter().map(size).sum();
    if bytes <= max_bytes {
        return 0;
    }
    // Of equal size, the last in the order of names is dropped first: every reader of the log
    // keeps the same ones.
    pairs.sort_by_key(size);
    let mut dropped = 0_u32;
    while bytes > max_bytes
        && let Some(largest) = pairs.pop()
    {
        bytes -= size(&largest);
        dropped = dropped.saturating_add(1);
    }
    dropped
}

fn is_empty_array(literal: &str) -> bool {
    let inner = literal
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str, max_bytes: usize) -> (Vec<(String, String)>, DroppedAttributes) {
        let (attributes, dropped) = decode(json, max_bytes);
        let attributes = attributes.unwrap_or_default();
        let pairs = attributes.iter();
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (pairs.collect(), dropped)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn scalars_are_taken_as_text_and_null_is_absent() {
        let json = r#"{"aal": 2, "remember": true, "email": null, "ratio": 1.50, "name": "a\nb"}"#;
        let expected = pairs(&[
            ("aal", "2"),
            ("name", "a\nb"),
            ("ratio", "1.50"),
            ("remember", "true"),
        ]);
        assert_eq!(
            decoded(json, 1024),
            (expected, DroppedAttributes::default())
        );
    }

    #[test]
    fn objects_and_arrays_cost_their_attribute_only() {
        let json = r#"{"roles": ["a"], "device": {"os": "x"}, "bad": "\ud800", "tenant": "acme"}"#;
        let dropped = DroppedAttributes {
            unusable: 3,
            too_large: 0,
        };
        assert_eq!(decoded(json, 1024), (pairs(&[("tenant", "acme")]), dropped));
    }

    #[test]
    fn anything_but_a_map_costs_all_attributes() {
        let dropped = DroppedAttributes {
            unusable: 1,
            too_large: 0,
        };
        for json in ["\"tenant=acme\"", "7", "[1]", r#"{"\ud800": "a"}"#] {
            assert_eq!(decoded(json, 1024), (Vec::new(), dropped), "{json}");
        }
        assert_eq!(
            decoded("[ ]", 1024),
            (Vec::new(), DroppedAttributes::default())
        );
    }

    #[test]
    fn the_largest_are_dropped_beyond_the_limit() {
        let json = r#"{"tenant": "acme", "token": "0123456789", "z": "0", "a": "1"}"#;
        let dropped = |too_large| DroppedAttributes {
            unusable: 0,
            too_large,
        };
        let all = pairs(&[
            ("a", "1"),
            ("tenant", "acme"),
            ("token", "0123456789"),
            ("z", "0"),
        ]);
        assert_eq!(decoded(json, 29), (all, dropped(0)));
        let small = pairs(&[("a", "1"), ("tenant", "acme"), ("z", "0")]);
        assert_eq!(decoded(json, 28), (small, dropped(1)));
        assert_eq!(decoded(json, 3), (pairs(&[("a", "1")]), dropped(3)));
        assert_eq!(decoded(json, 0), (Vec::new(), dropped(4)));
    }
}
