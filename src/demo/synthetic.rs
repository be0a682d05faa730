//! Session events of synthetic users.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::kafka::event_writer::Target;
use crate::session::{EventKind, Timestamp};
use crate::wire::event::encode::{SessionEvent, user_id};

/// Every tenth user has a string id instead of a number: the users of the demo's website.
const STRING_ID_EVERY: u32 = 10;
/// The id of the first user.
const FIRST_ID: u32 = 1_000;

/// Values of the attributes of logins.
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const CLIENTS: [&str; 2] = ["web", "mobile"];

/// A session event of a synthetic user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntheticEvent {
    /// The number of the user, from 0.
    pub user: u32,
    pub session: Uuid,
    pub kind: EventKind,
    /// May be earlier than the time of previous events.
    pub at: Timestamp,
}

impl SyntheticEvent {
    /// Returns the target of the record.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Key(self.session.to_string())
    }

    /// Whether the user visits the demo's website.
    pub(super) fn is_website(&self) -> bool {
        self.user.is_multiple_of(STRING_ID_EVERY)
    }

    /// Returns the id of the user.
    pub(super) fn user_name(&self) -> String {
        let number = FIRST_ID + self.user;
        if self.is_website() {
            format!("user-{number}")
        } else {
            number.to_string()
        }
    }

    /// Encodes the value of the record.
    ///
    /// # Errors
    /// See [`SessionEvent::to_json`].
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let user = user_id(&self.user_name(), false)?;
        let attributes = BTreeMap::from([
            ("tenant", pick(&TENANTS, self.user)),
            ("client", pick(&CLIENTS, self.session.as_fields().0)),
        ]);
        // Half of the users send attributes.
        let with_attributes = self.kind == EventKind::Login && self.user.is_multiple_of(2);
        let session = self.session.to_string();
        SessionEvent {
            user_id: Some(&user),
            session_id: Some(&session),
            attributes: with_attributes.then_some(&attributes),
            ..SessionEvent::new(self.kind, self.at)
        }
        .to_json()
    }
}

fn pick(names: &[&'static str], number: u32) -> &'static str {
    names[number as usize % names.len()]
}
