//! The fields of a session event before validation.

use std::borrow::Cow;

/// The fields, as JSON literals except where noted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    pub(super) session_id: Option<&'a str>,
    pub(super) user_id: Option<&'a str>,
    pub(super) activity_timestamp: Option<&'a str>,
    /// Unescaped.
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) attributes: Option<&'a str>,
    pub(super) except_session_id: Option<&'a str>,
    pub(super) matches: Option<&'a str>,
    pub(super) by: Option<&'a str>,
    pub(super) note: Option<&'a str>,
}
