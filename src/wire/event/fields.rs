//! The fields of a session event before validation.

use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    pub(super) session_id: Option<Cow<'a, str>>,
    /// The JSON literal.
    pub(super) user_id: Option<&'a str>,
    /// The JSON literal.
    pub(super) activity_timestamp: Option<&'a str>,
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) attributes: Option<BTreeMap<String, String>>,
}
