//! Lines of text, by a regular expression with named groups.

use std::collections::HashMap;

use cel::common::types::{CelMap, CelMapKey, CelString};
use regex::Regex;

use super::value::BoxedValue;
use crate::source::functions;

/// A regular expression; its named groups are the fields of `value`.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// Compiles `pattern`.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let regex = functions::regex(pattern).map_err(|error| error.to_string())?;
        let pattern = Self { regex };
        if pattern.names().is_empty() {
            return Err(
                "has no named groups: name the parts that expressions use, as in (?<path>\\S+)"
                    .to_owned(),
            );
        }
        Ok(pattern)
    }

    /// The names of the groups.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.regex.capture_names().flatten();
        names.map(str::to_owned).collect()
    }

    /// Matches a line; a group that took no part is absent.
    pub(super) fn value<'a>(&'a self, bytes: &'a [u8]) -> Result<BoxedValue<'a>, String> {
        match str::from_utf8(bytes) {
            Ok(text) => self.fields(text, CelString::from),
            // Access logs have whatever bytes clients send.
            Err(_) => {
                let text = String::from_utf8_lossy(bytes);
                let fields = self.fields(&text, |text| CelString::from(text.to_owned()));
                fields.map(|fields| fields as BoxedValue<'a>)
            }
        }
    }

    fn fields<'a, 't>(
        &'a self,
        text: &'t str,
        string: impl Fn(&'t str) -> CelString<'a>,
    ) -> Result<BoxedValue<'a>, String> {
        let line = text.trim_end_matches(['\r', '\n']);
        let captures = self.regex.captures(line);
        let captures = captures.ok_or("it does not match spec.pattern")?;
        let names = self.regex.capture_names().flatten();
        let fields = names.filter_map(|name| {
            let value: BoxedValue<'a> = Box::new(string(captures.name(name)?.as_str()));
            Some((CelMapKey::from(name), value))
        });
        Ok(Box::new(CelMap::from(fields.collect::<HashMap<_, _>>())))
    }
}
