//! The fields of a session event, before they are checked.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The fields of a session event, unchecked.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    pub(super) session_id: Option<Cow<'a, str>>,
    /// As it is written.
    pub(super) user_id: Option<&'a str>,
    /// As it is written.
    pub(super) activity_timestamp: Option<&'a str>,
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) attributes: Option<BTreeMap<String, String>>,
}
