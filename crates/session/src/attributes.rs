//! Attributes of a session: a flat map of strings that events carry.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::time::Timestamp;

/// The bound on the total size of a session's attribute names and values, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 64 * 1024;

/// A session's attributes (tenant, client, sid, …), sorted by name.
///
/// Policies match on them and terminal events carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Box<[(Box<str>, Box<str>)]>);

/// Attributes exceed [`MAX_ATTRIBUTE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attributes have {bytes} bytes, more than the limit of {MAX_ATTRIBUTE_BYTES}")]
pub struct AttributesTooLarge {
    /// Bytes in all names and values together.
    pub bytes: usize,
}

/// The attributes of a live session.
#[derive(Debug)]
pub(super) struct SessionAttributes {
    pub(super) attributes: Attributes,
    /// The time of the latest event that had attributes.
    pub(super) at: Timestamp,
}

impl Attributes {
    /// Builds attributes from pairs in any order; the last value of a repeated name wins.
    ///
    /// # Errors
    /// [`AttributesTooLarge`] if names and values exceed [`MAX_ATTRIBUTE_BYTES`].
    pub fn new<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, AttributesTooLarge>
    where
        K: Into<Box<str>>,
        V: Into<Box<str>>,
    {
        let sorted: BTreeMap<Box<str>, Box<str>> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let bytes = sorted.iter().map(|(k, v)| k.len() + v.len()).sum();
        if bytes > MAX_ATTRIBUTE_BYTES {
            return Err(AttributesTooLarge { bytes });
        }
        Ok(Self(sorted.into_iter().collect()))
    }

    /// Returns the value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .binary_search_by(|(key, _)| (**key).cmp(name))
            .ok()
            .map(|index| &*self.0[index].1)
    }

    /// Iterates over names and values in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns whether `others` has all of these attributes with the same values.
    #[must_use]
    pub fn are_subset_of(&self, others: Option<&Self>) -> bool {
        let has = |(name, value)| others.and_then(|all| all.get(name)) == Some(value);
        self.iter().all(has)
    }

    /// Returns whether there are no attributes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn are_sorted_and_found_by_name() {
        let attributes = Attributes::new([("tenant", "acme"), ("client", "web")]).unwrap();
        assert_eq!(attributes.get("tenant"), Some("acme"));
        assert_eq!(attributes.get("sid"), None);
        let names: Vec<_> = attributes.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["client", "tenant"]);
    }

    #[test]
    fn are_bounded() {
        let value = "x".repeat(MAX_ATTRIBUTE_BYTES);
        let error = Attributes::new([("a", value.as_str())]).unwrap_err();
        assert_eq!(error.bytes, MAX_ATTRIBUTE_BYTES + 1);
    }
}
